"""A model answers, from Python with nothing but ctypes: python3 examples/hello.py MODEL.slm ["a text"]

Shows how any language with a foreign function interface calls libslm: handles are pointers, structs
begin with their size, text comes piece by piece to a callback. A chat model answers the text, another
one goes on with it. The library is found as the system finds it (LD_LIBRARY_PATH); SLM_LIBRARY names another.
"""
import ctypes
import os
import sys
from ctypes import POINTER, Structure, c_char_p, c_float, c_int, c_int32, c_int64, c_size_t, c_void_p, sizeof


class Message(Structure):  # slm_message
    _fields_ = [("size", c_size_t), ("role", c_char_p), ("content", c_char_p)]


class GenerateOptions(Structure):  # slm_generate_options
    _fields_ = [("size", c_size_t), ("max_tokens", c_size_t), ("stop", c_void_p), ("n_stop", c_size_t),
                ("ignore_stop_tokens", c_int), ("show_special", c_int)]


class Piece(Structure):  # slm_piece
    _fields_ = [("size", c_size_t), ("text", c_void_p), ("n", c_size_t), ("token", c_int32), ("logprob", c_float),
                ("entropy", c_float), ("logits", POINTER(c_float))]


PieceFunction = ctypes.CFUNCTYPE(c_int, c_void_p, POINTER(Piece))
ADD_SPECIAL, EINVAL, EUNSUPPORTED = 1, -1, -10
SYSTEM = b"You are a helpful AI assistant."  # small models tend to loop without one


def load():
    """The library, with the types of what is used here: slm.h in Python's words."""
    slm = ctypes.CDLL(os.environ.get("SLM_LIBRARY", "libslm.so.0"))
    for name, result, *arguments in (
            ("slm_last_error", c_char_p),
            ("slm_model_open", c_int, POINTER(c_void_p), c_char_p, c_void_p),
            ("slm_model_unref", None, c_void_p),
            ("slm_ctx_new", c_int, POINTER(c_void_p), c_void_p, c_void_p),
            ("slm_ctx_free", None, c_void_p),
            ("slm_seq_new", c_int, POINTER(c_void_p), c_void_p),
            ("slm_seq_free", None, c_void_p),
            ("slm_tokenize", c_int64, c_void_p, c_char_p, c_size_t, ctypes.c_uint, POINTER(c_int32), c_size_t),
            ("slm_chat_tokenize", c_int64, c_void_p, POINTER(Message), c_size_t, c_void_p, POINTER(c_int32), c_size_t),
            ("slm_generate", c_int, c_void_p, c_void_p, POINTER(c_int32), c_size_t, POINTER(GenerateOptions),
             PieceFunction, c_void_p)):
        function = getattr(slm, name)
        function.restype, function.argtypes = result, arguments
    return slm


def answer(slm, path, text):
    """Stream an answer to standard output."""
    def check(code):
        if code < 0:
            raise RuntimeError(slm.slm_last_error().decode())
        return code

    def prompt(ids, room):
        system, user = (Message(sizeof(Message), role, said) for role, said in ((b"system", SYSTEM), (b"user", text)))
        n = slm.slm_chat_tokenize(model, (Message * 2)(system, user), 2, None, ids, room)
        if n == EINVAL:  # some templates refuse a system message
            n = slm.slm_chat_tokenize(model, user, 1, None, ids, room)
        return n if n != EUNSUPPORTED else slm.slm_tokenize(model, text, len(text), ADD_SPECIAL, ids, room)

    @PieceFunction
    def show(_user, piece):
        sys.stdout.buffer.write(ctypes.string_at(piece[0].text, piece[0].n))
        sys.stdout.flush()
        return 0

    model, ctx, seq = c_void_p(), c_void_p(), c_void_p()
    try:
        check(slm.slm_model_open(model, os.fsencode(path), None))
        check(slm.slm_ctx_new(ctx, model, None))
        check(slm.slm_seq_new(seq, ctx))
        n = check(prompt(None, 0))  # how many there are, then the tokens themselves
        ids = (c_int32 * n)()
        check(prompt(ids, n))
        check(slm.slm_generate(seq, None, ids, n, GenerateOptions(size=sizeof(GenerateOptions), max_tokens=200), show, None))
    finally:  # any order will do, and a handle that was never made is no matter
        slm.slm_seq_free(seq)
        slm.slm_ctx_free(ctx)
        slm.slm_model_unref(model)


if __name__ == "__main__":
    if len(sys.argv) not in (2, 3):
        sys.exit(__doc__)
    try:
        library = load()
    except (OSError, AttributeError) as error:
        sys.exit(f"hello.py: libslm is not found: {error}; SLM_LIBRARY can name it, as in build/src/libslm.so")
    try:
        answer(library, sys.argv[1], os.fsencode(sys.argv[2] if len(sys.argv) == 3 else "Once upon a time"))
        print()
    except RuntimeError as error:
        sys.exit(f"hello.py: {error}")
