"""Writes src/identifier/phone/regions.tsv from the metadata inside the rlibphonenumber crate.

The crate does not hand its metadata out. Run this when the pinned version changes:

    python3 phone_regions.py <crate source>/src/generated/metadata/metadata.bin > ../src/identifier/phone/regions.tsv

One line per region. The first three columns (region, calling code, trunk prefix) are always there; the others
describe the numbering plan to the fast path, for plans simple enough for it:

    strip     1 when the trunk prefix is simply cut off
    hazards   beginnings of a national number that ask for the library
    idd       beginnings of a dialled number that may be an international prefix; `?` says that what follows
              may belong to it too
    lengths   possible lengths, as a bit mask in hexadecimal: of any number, of a mobile, of a mobile or fixed line
    general   pattern of the whole plan
    types     patterns of what is given out, each with its lengths: mask:pattern, separated by blanks
"""

import re
import sys

TYPES = {2: "fixed", 3: "mobile", 4: "toll", 5: "premium", 6: "shared", 7: "personal", 8: "voip", 21: "pager",
         25: "uan", 28: "voicemail"}
TEXTS = {9: "id", 11: "idd", 12: "trunk", 15: "parsing", 16: "transform"}
# Plans whose prefix patterns have exceptions that a few hazards cover. (strip, hazards)
KNOWN_PREFIXES = {
    "GB": (1, ["0", "180020"]),
    "AU": (1, ["0", "183"]),
    "JP": (1, ["0"]),
    "CN": (1, ["0", "11", "12", "17"]),
    "LT": (1, ["0", "8"]),
    "BR": (0, ["0", "90"]),
    "KR": (0, ["0"]),
    "CO": (0, ["0"]),
    "BO": (0, ["0"]),
    "LU": (1, ["15"]),
}


def varint(data, at):
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 127) << shift
        shift += 7
        if byte < 128:
            return value, at


def fields(data):
    at = 0
    while at < len(data):
        tag, at = varint(data, at)
        if tag & 7 == 0:
            value, at = varint(data, at)
        else:
            assert tag & 7 == 2, "metadata holds varints and bytes only"
            length, at = varint(data, at)
            value = data[at:at + length]
            at += length
        yield tag >> 3, value


def numbers(value):
    if isinstance(value, int):
        return [value]
    found, at = [], 0
    while at < len(value):
        number, at = varint(value, at)
        found.append(number)
    return found


def description(data):
    pattern, lengths, local, absent = "", 0, 0, False
    for number, value in fields(data):
        if number == 2:
            pattern = value.decode().removeprefix("^(?:").removesuffix(")$")
        elif number in (9, 10):
            for length in numbers(value):
                if length > 60:
                    absent = True
                elif number == 9:
                    lengths |= 1 << length
                else:
                    local |= 1 << length
    return {"pattern": pattern, "lengths": lengths, "local": local, "absent": absent}


def possible(metadata, kind):
    desc = metadata[kind]
    lengths = 0 if desc["absent"] else desc["lengths"] or metadata["general"]["lengths"]
    return lengths, lengths & ~desc["local"]


def bare(pattern):
    return pattern.removeprefix("^(?:").removesuffix(")$")


def beginnings(pattern):
    """Literal beginnings that cover everything an international prefix pattern matches."""
    pattern = bare(pattern)
    if re.fullmatch(r"\d+", pattern):
        return [pattern]
    if pattern.startswith("00") and "|" not in re.sub(r"\(.*\)", "", pattern):
        return ["00", "?"]
    return {"001[14-689]|14(?:1[14]|34|4[17]|[56]6|7[47]|88)0011": ["00", "14"]}.get(pattern)


def main(path):
    regions, seen = [], {}
    for _, block in fields(open(path, "rb").read()):
        metadata = {name: "" for name in TEXTS.values()} | {"main": False, "code": 0}
        for number, value in fields(block):
            if number == 1:
                metadata["general"] = description(value)
            elif number in TYPES:
                metadata[TYPES[number]] = description(value)
            elif number in TEXTS:
                metadata[TEXTS[number]] = value.decode()
            elif number == 10:
                metadata["code"] = value
            elif number == 22:
                metadata["main"] = bool(value)
        if metadata["id"] != "001":
            regions.append(metadata)
            seen.setdefault(metadata["code"], []).append(metadata["id"])
    for metadata in sorted(regions, key=lambda metadata: metadata["id"]):
        region, trunk = metadata["id"], metadata["trunk"]
        line = [region, str(metadata["code"]), trunk]
        parsing = bare(metadata["parsing"])
        strip, hazards = KNOWN_PREFIXES.get(region, (1, [trunk] if trunk else []))
        simple = region in KNOWN_PREFIXES or (parsing == trunk and not metadata["transform"])
        idd = beginnings(metadata["idd"])
        if (metadata["main"] or len(seen[metadata["code"]]) == 1) and simple and idd:
            every = metadata["general"]["lengths"] & ~metadata["general"]["local"]
            mobile, mobile_only = possible(metadata, "mobile")
            person = mobile_only | possible(metadata, "fixed")[1]
            types = []
            for kind in TYPES.values():
                desc = metadata.get(kind)
                if desc and desc["pattern"] and not desc["absent"]:
                    types.append("%x:%s" % (desc["lengths"] or 0xFFFFFFFF, desc["pattern"]))
            line += [str(strip), ",".join(hazards), ",".join(idd), "%x" % every, "%x" % mobile, "%x" % person,
                     metadata["general"]["pattern"], " ".join(types)]
        print("\t".join(line))


main(sys.argv[1])
