"""The whole path under valgrind: no access to memory that is not there or not set, nothing left behind."""
import subprocess

from support import EXAMPLES, SLM, STORIES, CliTest, main

VALGRIND = ["valgrind", "--quiet", "--error-exitcode=99", "--leak-check=full", "--show-leak-kinds=definite,indirect",
            "--errors-for-leak-kinds=definite,indirect"]


class Valgrind(CliTest):
    def clean(self, *arguments, code=0, stdin=b""):
        done = subprocess.run([*VALGRIND, SLM, *map(str, arguments)], input=stdin, capture_output=True,
                              env=self.environment, cwd=self.folder, timeout=600)
        self.assertEqual(done.returncode, code, done.stderr.decode("utf-8", "replace"))

    def test_convert(self):
        self.clean("convert", STORIES / "stories260K.bin", "-o", "v.slm", "--type", "q4a")

    def test_run(self):
        self.clean("run", EXAMPLES / "stories260K.slm", "--raw", "-p", "Once upon a time", "-n", "20", "-t", "2")
        self.clean("run", self.model, "--raw", "-p", "Once upon a time", "-n", "20", "--temp", "1", "--top-k", "40",
                   "--top-p", "0.9", "--repeat-penalty", "1.2", "--stop", "the", "--json", "--logprobs", "2", "--cpu", "c")

    def test_chat(self):
        self.clean("chat", self.chat_model, "-n", "8", "-c", "64", stdin=b"Tom had a dog.\nIt was big.\n/stats\n")

    def test_the_rest(self):
        self.clean("info", self.model, "--tensors", "--json")
        self.clean("verify", self.model)
        self.clean("logits", self.q8, "--ids", "1,403,407,261", "--all", "-o", "v.f32")
        self.clean("bench", self.q8, "-p", "16", "-n", "4", "-r", "1", "-b", "2")
        self.clean("tokenize", self.model, "-p", "Once upon a time, w\u00f6rld", "--json")
        self.clean("run", "nowhere.slm", "-p", "x", code=1)
        self.clean("run", self.model, "--tmp", code=2)


if __name__ == "__main__":
    main()
