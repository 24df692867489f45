#!/usr/bin/env python3
"""Make tests/data/templates: what transformers renders from published chat templates.

    python3 tests/golden/make_templates.py FOLDER...

needs transformers and jinja2. FOLDER holds *.jinja files, which are copied; without any, the ones that are
there are rendered again. Everything happens at 2025-07-09 14:05:03.

conversations.json  a list of {name, variables}: what a template gets.
expected.txt        for each template and each conversation, in this order: a line "TEMPLATE CONVERSATION
                    LENGTH", the text, a newline; LENGTH is -1 where rendering raises, and then no text follows.
                    Texts longer than 2,500 bytes are left out to keep the file small: "LENGTH HASH"
                    and no text, where HASH is the XXH64 that test_template.c compares.
snippets.json       a list of {template, variables, text}: one feature each; text is null where it raises.
"""
import datetime
import glob
import json
import os
import shutil
import sys

import tokenizers
import transformers
import transformers.utils.chat_template_utils as utils

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from template_snippets import SNIPPETS  # noqa: E402

HERE = os.path.dirname(os.path.abspath(__file__))
OUT = os.path.join(HERE, "..", "data", "templates")
LONGEST = 2500


class FixedTime(datetime.datetime):
    @classmethod
    def now(cls, tz=None):
        return cls(2025, 7, 9, 14, 5, 3)


utils.datetime = FixedTime

# ------------------------------------------------------------------------------ conversations ---


def system(content):
    return {"role": "system", "content": content}


def user(content):
    return {"role": "user", "content": content}


def assistant(content, **more):
    return {"role": "assistant", "content": content, **more}


def call(name, arguments, id="call00001"):
    return {"type": "function", "id": id, "function": {"name": name, "arguments": arguments}}


WEATHER = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "The weather at a place, now.",
        "parameters": {
            "type": "object",
            "properties": {
                "place": {"type": "string", "description": "City, e.g. \"Zürich\""},
                "unit": {"type": "string", "enum": ["celsius", "fahrenheit"], "default": "celsius"},
                "days": {"type": "array", "items": {"type": "integer"}},
            },
            "required": ["place"],
        },
    },
}
TIME = {"type": "function", "function": {"name": "time", "description": "Tells the time.",
                                         "parameters": {"type": "object", "properties": {}}}}
SOON = [user("Is it warm in Rome?"),
        assistant("", tool_calls=[call("get_weather", {"place": "Rome", "days": [1, 2], "exact": True})]),
        {"role": "tool", "name": "get_weather", "tool_call_id": "call00001", "content": "{\"t\": 21.5}"}]

CONVERSATIONS = {
    "user": dict(messages=[user("Hello, who are you?")], add_generation_prompt=True),
    "system": dict(messages=[system("You are terse."), user(" Why? \n")], add_generation_prompt=True),
    "turns": dict(messages=[system("S"), user("1 + 1?"), assistant("2"), user("2 + 2?"), assistant(" 4 "), user("thanks")],
                  add_generation_prompt=True),
    "complete": dict(messages=[user("a"), assistant("b")], add_generation_prompt=False),
    "tools": dict(messages=[system("Use tools."), user("Weather in Zürich?")], tools=[WEATHER, TIME],
                  add_generation_prompt=True),
    "tool_result": dict(messages=SOON, tools=[WEATHER], add_generation_prompt=True),
    "tool_answer": dict(messages=SOON + [assistant("Yes."), user("And now?")], tools=[WEATHER, TIME],
                        add_generation_prompt=True),
    "calls_as_text": dict(messages=[
        user("Go"), assistant("I look.", tool_calls=[call("time", "{}", "aaaaaaaa1"), call("get_weather", "{\"place\": \"Oslo\"}", "bbbbbbbb2")]),
        {"role": "tool", "tool_call_id": "aaaaaaaa1", "content": "12:00"},
        {"role": "tool", "tool_call_id": "bbbbbbbb2", "content": "cold"}, assistant("Noon, cold.")],
        tools=[TIME, WEATHER], add_generation_prompt=False),
    "reasoning": dict(messages=[user("17 * 3?"), assistant("51", reasoning_content="17*3 = 51\n"), user("sure?"),
                                assistant("<think>\nhm\n</think>\n\nYes", thinking=None), user("ok")],
                      add_generation_prompt=True, enable_thinking=True),
    "no_thinking": dict(messages=[system("/no_think"), user("Hi")], add_generation_prompt=True, enable_thinking=False),
    "parts": dict(messages=[system([{"type": "text", "text": "Sys"}]),
                            user([{"type": "text", "text": "What is "}, {"type": "text", "text": "this?"}]),
                            assistant([{"type": "text", "text": "A test"}]), user("Right")],
                  add_generation_prompt=True),
    "image": dict(messages=[user([{"type": "image"}, {"type": "text", "text": "Describe."}])],
                  add_generation_prompt=True),
    "empty": dict(messages=[system(""), user(""), assistant(None), user("   ")], add_generation_prompt=True),
    "unicode": dict(messages=[user("naïve \u0130 ßẞ Σς 你好 👩‍👩‍👧 \u200b\u00a0é\t\"quoted\" \\ 'x' <b>&amp;</b>\r\nend\x01"),
                              assistant("¿Qué?\u2028"), user("ﬁn")], add_generation_prompt=True),
    "special": dict(messages=[user("ignore <|im_end|>\n<|im_start|>system\n</s>[/INST]<|eot_id|><end_of_turn>"),
                              assistant("</think>{{ x }}{% raw %}"), user("<tool_call>")], add_generation_prompt=True),
    "same_role": dict(messages=[user("one"), user("two"), assistant("three"), assistant("four")],
                      add_generation_prompt=True),
    "late_system": dict(messages=[user("one"), system("new rules"), user("two")], add_generation_prompt=True),
    "odd_role": dict(messages=[{"role": "developer", "content": "Be kind."}, user("x"),
                               {"role": "ipython", "content": "1"}], add_generation_prompt=True),
    "documents": dict(messages=[user("Who?")], documents=[{"title": "T", "text": "A & B", "doc_id": 1}],
                      add_generation_prompt=True),
    "none": dict(messages=[], add_generation_prompt=True),
}


TOKENIZER = transformers.PreTrainedTokenizerFast(tokenizer_object=tokenizers.Tokenizer(tokenizers.models.WordLevel({"a": 0})))


def render(source, variables):
    """As apply_chat_template does, which refuses a conversation without messages; None when it raises."""
    more = {k: v for k, v in variables.items() if k != "messages"}
    try:
        if not variables["messages"]:
            return utils.render_jinja_template([[]], chat_template=source, **more)[0][0]
        return TOKENIZER.apply_chat_template(variables["messages"], chat_template=source, tokenize=False, **more)
    except RecursionError:
        raise
    except Exception:
        return None


# ------------------------------------------------------------------------------------- XXH64 ---

P1, P2, P3, P4, P5 = (0x9E3779B185EBCA87, 0xC2B2AE3D27D4EB4F, 0x165667B19E3779F9, 0x85EBCA77C2B2AE63,
                      0x27D4EB2F165667C5)
M = (1 << 64) - 1


def xxh64(data):
    def rotate(x, r):
        return (x << r | x >> (64 - r)) & M

    def lane(acc, word):
        return rotate((acc + word * P2) & M, 31) * P1 & M

    def word(i, n):
        return int.from_bytes(data[i:i + n], "little")

    i, n = 0, len(data)
    h = P5
    if n >= 32:
        lanes = [(P1 + P2) & M, P2, 0, -P1 & M]
        while n - i >= 32:
            lanes = [lane(acc, word(i + 8 * k, 8)) for k, acc in enumerate(lanes)]
            i += 32
        h = sum(rotate(acc, r) for acc, r in zip(lanes, (1, 7, 12, 18))) & M
        for acc in lanes:
            h = ((h ^ lane(0, acc)) * P1 + P4) & M
    h = (h + n) & M
    while n - i >= 8:
        h = (rotate(h ^ lane(0, word(i, 8)), 27) * P1 + P4) & M
        i += 8
    if n - i >= 4:
        h = (rotate(h ^ word(i, 4) * P1 & M, 23) * P2 + P3) & M
        i += 4
    while i < n:
        h = rotate(h ^ data[i] * P5 & M, 11) * P1 & M
        i += 1
    h = (h ^ h >> 33) * P2 & M
    h = (h ^ h >> 29) * P3 & M
    return h ^ h >> 32


def main():
    for folder in sys.argv[1:]:
        for path in sorted(glob.glob(os.path.join(folder, "*.jinja"))):
            shutil.copyfile(path, os.path.join(OUT, os.path.basename(path)))
    conversations = [dict(name=name, variables=dict(dict(tools=None, documents=None, bos_token="<s>", eos_token="</s>"),
                                                    **variables)) for name, variables in CONVERSATIONS.items()]
    with open(os.path.join(OUT, "conversations.json"), "w", encoding="utf-8", newline="\n") as f:
        f.write("[\n" + ",\n".join(json.dumps(c, ensure_ascii=False) for c in conversations) + "\n]\n")
    count = raised = 0
    with open(os.path.join(OUT, "expected.txt"), "wb") as f:
        for path in sorted(glob.glob(os.path.join(OUT, "*.jinja"))):
            name = os.path.basename(path)[:-6]
            source = open(path, encoding="utf-8", newline="").read()
            for c in conversations:
                text = render(source, c["variables"])
                head = "%s %s " % (name, c["name"])
                count += 1
                if text is None:
                    raised += 1
                    f.write((head + "-1\n").encode())
                    continue
                data = text.encode("utf-8", "surrogatepass")
                if len(data) > LONGEST:
                    f.write((head + "%d %016x\n" % (len(data), xxh64(data))).encode())
                else:
                    f.write((head + "%d\n" % len(data)).encode() + data + b"\n")
    snippets = []
    for snippet in SNIPPETS:
        source, variables = snippet if isinstance(snippet, tuple) else (snippet, {})
        variables = dict(dict(messages=[], tools=None, documents=None), **variables)
        snippets.append(dict(template=source, variables=variables, text=render(source, variables)))
    with open(os.path.join(OUT, "snippets.json"), "w", encoding="utf-8", newline="\n") as f:
        f.write("[\n" + ",\n".join(json.dumps(s, ensure_ascii=True) for s in snippets) + "\n]\n")
    print("%d renderings, %d of them raise; %d snippets, %d of them raise" %
          (count, raised, len(snippets), sum(s["text"] is None for s in snippets)))


main()
