#!/usr/bin/env python3
"""Makes a prepared CUDA folder of tinymoe's cache compress small: in its libraries the code for other architectures becomes zeros.

usage: slim.py FOLDER ARCHITECTURE [all]     such as 90. Without `all` NVIDIA's libraries go but for the CUDA runtime and CUPTI,
and the manifest names what is left.
"""

import collections
import json
import pathlib
import shutil
import struct
import sys

KEPT = ("cuda_runtime", "cuda_cupti")
SECTIONS = (b".nv_fatbin", b"__nv_relfatbin")
MAGIC = 0xBA55ED50
MACHINE_CODE = 2  # else PTX, which a driver compiles


def sections(file):
    """(offset, size) of the sections that hold code for cards, in an ELF file of 64 bits."""
    header = file.read(64)
    if header[:4] != b"\x7fELF":
        return []
    (table,) = struct.unpack_from("<Q", header, 40)
    size, count, names_at = struct.unpack_from("<HHH", header, 58)
    file.seek(table)
    rows = file.read(size * count)
    entries = [struct.unpack_from("<IIQQQQ", rows, i * size) for i in range(count)]
    file.seek(entries[names_at][4])
    names = file.read(entries[names_at][5])
    name_of = lambda entry: names[entry[0] : names.index(b"\0", entry[0])]
    return [(entry[4], entry[5]) for entry in entries if name_of(entry) in SECTIONS]


def zero_others(data, architecture, found):
    """Zeros the machine code of other architectures, and all PTX, in the containers of a section."""
    at = 0
    while at + 16 <= len(data):
        magic, _, header, length = struct.unpack_from("<IHHQ", data, at)
        if magic != MAGIC:
            at += 8
            continue
        entry, end = at + header, at + header + length
        while entry + 64 <= end:
            kind, _, own_header, own_length = struct.unpack_from("<HHIQ", data, entry)
            (of,) = struct.unpack_from("<I", data, entry + 28)
            if kind == MACHINE_CODE and of == architecture:
                found["kept"] += own_length
            else:
                data[entry + own_header : entry + own_header + own_length] = bytes(own_length)
                found["zeroed"] += own_length
            entry += own_header + own_length
        at = end


def main():
    folder, architecture = pathlib.Path(sys.argv[1]), int(sys.argv[2])
    if "all" not in sys.argv[3:]:
        for own in (folder / "nvidia").glob("*"):
            if own.name not in KEPT:
                shutil.rmtree(own)
    for path in sorted(folder.rglob("*.so*")):
        found = collections.Counter()
        with open(path, "r+b") as file:
            for offset, size in sections(file):
                file.seek(offset)
                data = bytearray(file.read(size))
                zero_others(data, architecture, found)
                file.seek(offset)
                file.write(data)
        if found:
            print(f"{path.name}: {found['kept'] / 1e6:.0f} MB for {architecture} kept, {found['zeroed'] / 1e6:.0f} MB zeroed")
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["files"] = [file for file in manifest["files"] if (folder / file["path"]).exists()]
    (folder / "manifest.json").write_text(json.dumps(manifest, indent=1))


main()
