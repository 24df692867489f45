"""A second encoder and decoder for the tokenizer section, written from docs/format-tokenizer.md alone."""
import re
import struct
import unicodedata  # combining classes of Hangul only; all else comes from the section

M64 = (1 << 64) - 1
NONE = 0xFFFFFFFF
WHITE = set(map(chr, [*range(9, 14), 32, 0x85, 0xA0, 0x1680, *range(0x2000, 0x200B), 0x2028, 0x2029, 0x202F, 0x205F, 0x3000]))


def printable(b):
    if b <= 0x20:
        return 0x100 + b
    if 0x7F <= b <= 0xA0:
        return 0x121 + b - 0x7F
    return 0x143 if b == 0xAD else b


class Tokenizer:
    def __init__(self, data):
        self.data = data
        (magic, major, _, _, n_tables, self.model, self.flags, self.n_tokens, self.n_slots, self.shift,
         self.max_length, self.bos, self.eos, self.unknown, self.padding, self.max_word, _, self.unknown_score) = struct.unpack_from("<IHH14Id", data)
        assert magic == 0x4B544D53 and major == 2
        tables = [struct.unpack_from("<II", data, 80 + 8 * i) for i in range(n_tables)]
        self.table = [data[o:o + n] for o, n in tables]
        self.bases = self.numbers(1, "I")
        self.offsets = self.numbers(2, "H")
        self.info = self.numbers(3, "H")
        self.hash = self.numbers(4, "I")
        self.ranks = self.numbers(5, "I")
        self.rows = {t: (s, k) for t, s, k in struct.iter_unpack("<IIQ", self.table[6])}
        self.bytes = self.numbers(7, "I")
        self.added = [self.read_added(9), self.read_added(10)]
        self.normal = list(struct.iter_unpack("<6I", self.table[12]))
        self.prefix, self.suffix = self.numbers(16, "I"), self.numbers(17, "I")
        self.read_scanners()

    def numbers(self, table, kind):
        return struct.unpack(f"<{len(self.table[table]) // struct.calcsize(kind)}{kind}", self.table[table])

    def text(self, i):
        at = [self.bases[k >> self.shift] + self.offsets[k] for k in (i, i + 1)]
        return self.table[0][at[0]:at[1]]

    # ---------------------------------------------------------------------------- text to token --

    def find(self, text):
        h = 0
        for b in text:
            h = (h * 0x9E3779B97F4A7C55 + b + 1) & M64
        h = ((h ^ h >> 32) * 0xD6E8FEB86659FD93) & M64
        home, tag = (h >> 32) * self.n_slots >> 32, h >> 20 & 63
        for distance in range(1, 16):
            slot = self.hash[home + distance - 1]
            if slot >> 28 < distance:
                return None
            token = slot & 0x3FFFFF
            if slot >> 22 == (distance << 6 | tag) and self.text(token) == text:
                return token
        return None

    # ------------------------------------------------------------------------------ added tokens --

    def read_added(self, table):
        data = self.table[table]
        if not data:
            return []
        n = struct.unpack_from("<I", data)[0]
        rows = [struct.unpack_from("<4I", data, 8 + 4 * 258 + 16 * i) for i in range(n)]
        return [(self.table[11][t:t + k], token, flags) for t, k, token, flags in rows]

    def is_word(self, text, at):
        return self.scanners[-1][2] == 5 and self.match(self.scanners[-1], text[at:at + 1], 0) == 1

    def split_added(self, which, text, special):
        """Yields (text, None) and (None, token); text is str."""
        white = WHITE - {" "} if which and self.flags & 64 else WHITE
        at = done = 0
        while at < len(text):
            fits = [(len(p.decode()), token, flags) for p, token, flags in self.added[which]
                    if (special or not flags & 16) and not flags & 32 and text.startswith(p.decode(), at)]
            if not fits:
                at += 1
                continue
            length, token, flags = max(fits)
            begin, end = at, at + length
            at = end
            if flags & 1 and ((begin > 0 and self.is_word(text, begin - 1)) or
                              (end < len(text) and self.is_word(text, end))):
                continue
            while flags & 2 and begin > done and text[begin - 1] in white:
                begin -= 1
            while flags & 4 and end < len(text) and text[end] in white:
                end += 1
            yield done, text[done:begin], None
            yield begin, None, token
            at = done = end
        yield done, text[done:], None

    # ------------------------------------------------------------------------------- normalizers --

    def normalize(self, text, first, late):
        for kind, flags, a, na, b, nb in self.normal:
            pool = self.table[13]
            if (flags & 4 != 0) != late:
                continue
            if kind == 1:
                text = text.replace(pool[a:a + na].decode(), pool[b:b + nb].decode())
            elif kind == 2:
                what = pool[a:a + na].decode()
                if (text or flags & 256) and not (flags & 1 and text.startswith(what)) and not (flags & 2 and not first):
                    text = what + text
            elif kind == 3:
                text = self.form(text, pool[a:a + na], flags & 8)
            elif kind == 4:
                if flags & 64:
                    text = text.rstrip("".join(WHITE))
                if flags & 32:
                    text = text.lstrip("".join(WHITE))
                if flags & 128:
                    text = re.sub("  +", " ", text)
                if flags & 512:
                    text = text.rstrip(" ")
                if not flags & 736:
                    text = " ".join(x for x in text.split(" ") if x)
            elif kind == 5:
                text = self.map(text, pool[a:a + na])
            elif kind == 6:
                text = self.charsmap(text, pool[a:a + na], pool[b:b + nb])
        return text

    def character_table(self, table):
        n_stage, n_blocks, n_entries, n_words, n_pairs = struct.unpack_from("<5I", table)
        at, parts = 36, []
        for count, kind in ((n_stage, "H"), (128 * n_blocks, "H"), (n_entries, "I"), (n_words, "I"), (3 * n_pairs, "I")):
            parts.append(struct.unpack_from(f"<{count}{kind}", table, at))
            at += count * struct.calcsize(kind)
        stage, blocks, entries, words, flat = parts
        pairs = {(flat[i], flat[i + 1]): flat[i + 2] for i in range(0, len(flat), 3)}

        def entry(c):
            return entries[blocks[128 * stage[c >> 7] + (c & 127)]] if c >> 7 < n_stage else 0

        return entry, words, pairs

    def map(self, text, table):
        entry, words, _ = self.character_table(table)
        out = ""
        for c in text:
            place = entry(ord(c)) >> 9
            new = words[place + 1:place + 1 + words[place]] if place else [ord(c)]
            out += "".join(c if x == NONE else chr(x) for x in new)
        return out

    def charsmap(self, text, table, classes):
        n = struct.unpack_from("<I", table)[0]
        units, texts = struct.unpack_from(f"<{n // 4}I", table, 4), table[4 + n:]

        def entry(data, longest):
            at, found = 0, None
            offset = lambda unit: (unit >> 10) << ((unit & 512) >> 6)
            at ^= offset(units[0])
            for i, byte in enumerate(data):
                at ^= byte
                if at >= len(units) or units[at] & 0x800000FF != byte:
                    break
                unit = units[at]
                at ^= offset(unit)
                if unit >> 8 & 1 and (longest or found is None):
                    value = units[at] & 0x7FFFFFFF
                    found = (i + 1, texts[value:texts.index(b"\0", value)])
            return found

        out, at = b"", 0
        if not classes:
            data = text.encode()
            while at < len(data):
                kept = max((len(p) for p, _, flags in self.added[1] if not flags & 16 and data.startswith(p, at)), default=0)
                length, new = kept and (kept, data[at:at + kept]) or entry(data[at:], True) or (1, data[at:at + 1])
                out, at = out + new, at + length
            return out.decode()
        kind, _, _ = self.character_table(classes)
        while at < len(text):
            end = at + 1
            if text[at:at + 2] == "\r\n":
                end = at + 2
            else:
                while kind(ord(text[end - 1])) & 255 != 3 and end < len(text) and (
                        kind(ord(text[end])) & 255 == 1 or
                        kind(ord(text[end - 1])) & 255 == 2 and kind(ord(text[end])) & 255 != 3):
                    end += 1
            cluster = text[at:end].encode()
            found = entry(cluster, False) if len(cluster) < 6 else None
            if found:
                out += found[1]
            else:
                for c in text[at:end]:
                    out += (entry(c.encode(), False) or (0, c.encode()))[1]
            at = end
        return out.decode()

    def form(self, text, table, decomposed):
        entry, words, pairs = self.character_table(table)
        out = []
        for c in map(ord, text):
            place = entry(c) >> 9
            if 0xAC00 <= c < 0xD7A4:
                out += [ord(x) for x in unicodedata.normalize("NFD", chr(c))]
            else:
                out += words[place + 1:place + 1 + words[place]] if place else [c]
        i = 0
        while i < len(out):  # marks in order of their class
            end = i
            while end < len(out) and entry(out[end]) & 255:
                end += 1
            out[i:end] = sorted(out[i:end], key=lambda c: entry(c) & 255)
            i = end + 1
        if decomposed:
            return "".join(map(chr, out))
        kept, starter, last = [], None, 0
        for c in out:
            k, both = entry(c) & 255, None
            if starter is not None and (starter + 1 == len(kept) or last < k):
                a = kept[starter]
                both = pairs.get((a, c))
                if 0x1100 <= a < 0x1113 and 0x1161 <= c < 0x1176 or 0xAC00 <= a < 0xD7A4 and 0x11A7 < c < 0x11C3:
                    joined = unicodedata.normalize("NFC", chr(a) + chr(c))
                    both = ord(joined) if len(joined) == 1 else None
            if both is not None:
                kept[starter] = both
                continue
            if k == 0:
                starter = len(kept)
            last = k
            kept.append(c)
        return "".join(map(chr, kept))

    # -------------------------------------------------------------------------------- scanners ----

    def read_scanners(self):
        self.scanners = []
        if not self.table[15]:
            self.scanners = [(0, 0, 0, 0)]
            return
        self.n_classes, n_stage, n_blocks, self.default = struct.unpack_from("<4I", self.table[14])
        self.stage = struct.unpack_from(f"<{n_stage}H", self.table[14], 16)
        self.blocks = self.table[14][16 + 2 * (n_stage + (n_stage & 1)):]
        n, n_transitions = struct.unpack_from("<II", self.table[15])
        self.scanners = [struct.unpack_from("<4I", self.table[15], 8 + 16 * i) for i in range(n)]
        self.transitions = struct.unpack_from(f"<{n_transitions}H", self.table[15], 8 + 16 * n)

    def class_of(self, c):
        return self.blocks[128 * self.stage[c >> 7] + (c & 127)] if c >> 7 < len(self.stage) else self.default

    def match(self, scanner, units, at):
        first, _, _, flags = scanner
        state, last = self.n_classes, at
        while True:
            unit = units[at] if at < len(units) else None
            k = 0 if unit is None else self.class_of(printable(unit) if flags & 2 else ord(unit))
            entry = self.transitions[first + state + k]
            if entry & 0x8000:
                last = at
            state = entry & 0x7FFF
            if state == 0 or unit is None:
                return last
            at += 1

    def cut(self, scanner, piece):
        """One step: a list of the pieces of a piece, both bytes."""
        _, _, behaviour, flags = scanner
        units = piece if flags & 2 else piece.decode()
        spans, at, gap = [], 0, 0
        while at < len(units):
            end = self.match(scanner, units, at)
            if end == at:
                at += 1
                continue
            spans += [(gap, at, False)] * (gap < at) + [(at, end, True)]
            at = gap = end
        spans += [(gap, at, False)] * (gap < at)
        out = []
        for begin, end, is_match in spans:
            is_match ^= flags & 1 != 0
            before = out[-1] if out else None
            if before and (behaviour == 2 and is_match and not before[2] and not before[3] or
                           behaviour == 3 and before[2] and not is_match or
                           behaviour == 4 and before[2] == is_match):
                out[-1] = (before[0], end, is_match if behaviour == 4 else before[2], True)
            else:
                out.append((begin, end, is_match, False))
        pieces = [units[b:e] for b, e, m, _ in out if not (behaviour == 1 and m)]
        return pieces if flags & 2 else [p.encode() for p in pieces]

    # ---------------------------------------------------------------------------------- merging ---

    def key(self, left, right):
        (a, ta), (b, tb) = left, right
        if self.flags & 4 and (ta is None or tb is None) or len(a + b) > self.max_length:
            return None
        t = self.find(a + b)
        if t is None:
            return None
        split, key = self.info[t] & 255, (self.ranks[t] if self.ranks else t) + 1 << 32
        if split == 255:
            split, key = self.rows.get(t, (0, 0))
        return (key, t) if split == len(a) else None

    def encode_word(self, word):
        out, at = [], 0
        while at < len(word) <= self.max_word:
            for end in range(len(word), at, -1):
                token = self.find((self.table[20] if at else b"") + word[at:end].encode())
                if token is not None:
                    break
            else:
                return [self.unknown]
            out.append(token)
            at = end
        return out or [self.unknown]

    def encode_scores(self, text):
        wide = self.flags & 256
        score = lambda t: struct.unpack_from("<d" if wide else "<f", self.table[22], t * (8 if wide else 4))[0]
        narrow = (lambda x: struct.unpack("<f", struct.pack("<f", x))[0]) if self.flags & 512 else lambda x: x
        best = [(0.0, 0, None)] + [None] * len(text)
        for at in range(len(text)):
            single, spent = False, best[at][0]
            if self.flags & 512 and abs(spent) > 1e5:
                best[at:] = [b and (narrow(b[0] - spent), *b[1:]) for b in best[at:]]
            for end in range(at + 1, len(text) + 1):
                token = self.find(text[at:end].encode())
                if token is not None:
                    total = narrow(best[at][0] + score(token))
                    single |= end == at + 1
                    if best[end] is None or total > best[end][0]:
                        best[end] = (total, at, token)
            total = narrow(best[at][0] + self.unknown_score)
            if not single and (best[at + 1] is None or total > best[at + 1][0]):
                best[at + 1] = (total, at, None)
        symbols, at = [], len(text)
        while at > 0:
            _, start, token = best[at]
            symbols.insert(0, (text[start:at].encode(), token))
            at = start
        return self.put_out(symbols)

    def encode_piece(self, piece):
        if self.model == 4:
            return self.encode_scores(piece.decode())
        if self.model == 3:
            return self.encode_word(piece.decode())
        whole = self.find(piece) if piece else None
        if whole is not None and self.info[whole] & 0x800:
            return [whole]
        if self.model == 1:
            if self.unknown == NONE:
                piece = bytes(b for b in piece if self.bytes[b] != NONE)
            symbols = [(bytes([b]), None if self.bytes[b] == NONE else self.bytes[b]) for b in piece]
        else:
            symbols = [(c.encode(), self.find(c.encode())) for c in piece.decode()]
        keys = [self.key(*pair) for pair in zip(symbols, symbols[1:])]
        while any(keys):
            i = min((k[0], i) for i, k in enumerate(keys) if k)[1]
            symbols[i:i + 2] = [(symbols[i][0] + symbols[i + 1][0], keys[i][1])]
            keys[max(i - 1, 0):i + 2] = [self.key(*pair) for pair in
                                         zip(symbols[max(i - 1, 0):i + 1], symbols[max(i - 1, 0) + 1:i + 2])]
        return self.put_out(symbols)

    def put_out(self, symbols):
        out, after_unknown = [], False
        for text, token in symbols:
            fallback = [self.bytes[b] for b in text]
            if token is None and self.flags & 1 and NONE not in fallback:
                out += fallback
            elif token is None and self.unknown != NONE:
                if not (after_unknown and self.flags & 2):
                    out.append(self.unknown)
                after_unknown = True
                continue
            elif token is not None:
                out.append(token)
            after_unknown = False
        return out

    def encode(self, data, special=True):
        out = list(self.prefix)
        for at, raw, token in self.split_added(0, data.decode("utf-8", "replace"), special):
            if token is not None:
                out.append(token)
                continue
            if not raw:
                continue
            for later, text, token in self.split_added(1, self.normalize(raw, at == 0, False), special):
                if token is not None:
                    out.append(token)
                    continue
                pieces = [self.normalize(text, at + later == 0, True).encode()]
                for scanner in self.scanners:
                    if scanner[1] and scanner[2] != 5:
                        pieces = [x for piece in pieces for x in self.cut(scanner, piece)]
                for piece in pieces:
                    out += self.encode_piece(piece)
        return out + list(self.suffix)

    def decode(self, ids, show_special):
        out, start = b"", True
        for i in ids:
            special = self.info[i] >> 8 & 7 in (2, 3)
            text = self.text(i)
            if special and not show_special:
                continue
            if not start and self.flags & 128:
                join = self.info[i] & 0x3000
                text = text[len(self.table[20]):] if join & 0x1000 else text if join else b" " + text
            if start and text and not special:
                text = text[1:] if self.flags & 8 and text[:1] == b" " else text.lstrip(b" ") if self.flags & 32 else text
            start = start and (not self.text(i) or self.flags & 1024 and not text)
            out += text
        if not self.flags & 16:
            return out.decode("utf-8", "replace")
        text = ""
        while out:
            for n in (1, 2, 3, 4):
                try:
                    text += out[:n].decode()
                    break
                except UnicodeDecodeError:
                    pass
            else:
                n, text = 1, text + "\ufffd"
            out = out[n:]
        return text
