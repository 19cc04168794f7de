"""Encrypts and decrypts the files that cases.json names with the package `cryptography` (OpenSSL), for tests/it/file.rs."""

import json
import pathlib
import sys

from cryptography.hazmat.primitives import padding
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes


def encrypt(mode, key, iv, plain):
    aes = algorithms.AES(key)
    if mode == "gcm":
        encryptor = Cipher(aes, modes.GCM(iv)).encryptor()
        return encryptor.update(plain) + encryptor.finalize() + encryptor.tag
    if mode == "ctr":
        encryptor = Cipher(aes, modes.CTR(iv.ljust(16, b"\0"))).encryptor()
        return encryptor.update(plain) + encryptor.finalize()
    padder = padding.PKCS7(128).padder()
    encryptor = Cipher(aes, modes.CBC(iv)).encryptor()
    return encryptor.update(padder.update(plain) + padder.finalize()) + encryptor.finalize()


def decrypt(mode, key, iv, file):
    aes = algorithms.AES(key)
    if mode == "gcm":
        decryptor = Cipher(aes, modes.GCM(iv, file[-16:])).decryptor()
        return decryptor.update(file[:-16]) + decryptor.finalize()
    if mode == "ctr":
        decryptor = Cipher(aes, modes.CTR(iv.ljust(16, b"\0"))).decryptor()
        return decryptor.update(file) + decryptor.finalize()
    unpadder = padding.PKCS7(128).unpadder()
    decryptor = Cipher(aes, modes.CBC(iv)).decryptor()
    return unpadder.update(decryptor.update(file) + decryptor.finalize()) + unpadder.finalize()


for case in json.loads(pathlib.Path(sys.argv[1]).read_text()):
    work = {"encrypt": encrypt, "decrypt": decrypt}[case["work"]]
    given = pathlib.Path(case["from"]).read_bytes()
    made = work(case["mode"], bytes.fromhex(case["key"]), bytes.fromhex(case["iv"]), given)
    pathlib.Path(case["to"]).write_bytes(made)
