"""The AWS Encryption SDK for Python against Keystead, in both directions.

Reads a JSON list of jobs from standard input and writes the list of their results to standard output:

    {"do": "decrypt", "message": base64, "key": KEY}
        -> {"plaintext": base64, "context": {...}}
    {"do": "encrypt", "plaintext": base64, "context": {...}, "suite": 0x0478, "frame": 4096, "keys": [KEY]}
        -> {"message": base64}
    {"do": "unwrap", "blob": base64, "context": {...}, "key": KEY}
        -> {"plaintext": base64}

KEY is {"arn": ..., "key": hex, "material_id": hex, "material": hex}, or {"foreign": hex} for a raw AES key
that Keystead knows nothing of. Keystead's wrapped key is implemented here a second time, from its
description in docs/formats.md, so that one side's mistake cannot hide in the other's.
"""

import base64
import hmac
import json
import os
import struct
import sys

import attr
import aws_encryption_sdk
from aws_encryption_sdk.exceptions import DecryptKeyError, InvalidKeyIdError
from aws_encryption_sdk.identifiers import Algorithm, EncryptionKeyType, WrappingAlgorithm
from aws_encryption_sdk.internal.crypto.wrapping_keys import WrappingKey
from aws_encryption_sdk.key_providers.base import (
    MasterKey,
    MasterKeyConfig,
    MasterKeyProvider,
    MasterKeyProviderConfig,
)
from aws_encryption_sdk.key_providers.raw import RawMasterKey
from aws_encryption_sdk.structures import DataKey, EncryptedDataKey
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA512
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

VERSION_AND_ALGORITHM = b"\x01\x01"
LABEL = b"keystead/v1/kms/"


def canonical(context):
    """The canonical form of an encryption context."""
    if not context:
        return b""
    pairs = sorted((key.encode(), value.encode()) for key, value in context.items())
    out = struct.pack(">H", len(pairs))
    for key, value in pairs:
        out += struct.pack(">H", len(key)) + key + struct.pack(">H", len(value)) + value
    return out


def derive(material, salt, key_id, material_id):
    """The key, nonce and commitment of one wrapped key."""
    info = LABEL + VERSION_AND_ALGORITHM[1:] + key_id + material_id
    derived = HKDF(algorithm=SHA512(), length=76, salt=salt, info=info).derive(material)
    return derived[:32], derived[32:44], derived[44:]


def wrap(plaintext, context, key_id, material_id, material):
    """A wrapped data key or small ciphertext."""
    salt = os.urandom(32)
    key, nonce, commitment = derive(material, salt, key_id, material_id)
    head = VERSION_AND_ALGORITHM + key_id + material_id + salt + commitment
    return head + AESGCM(key).encrypt(nonce, plaintext, head + canonical(context))


def unwrap(blob, context, key_id, material_id, material):
    """What `wrap` wrapped; raises ValueError if the blob is of another key or damaged."""
    head, ciphertext = blob[:98], blob[98:]
    if head[:34] != VERSION_AND_ALGORITHM + key_id + material_id:
        raise ValueError("another key")
    key, nonce, commitment = derive(material, head[34:66], key_id, material_id)
    if not hmac.compare_digest(commitment, head[66:98]):
        raise ValueError("another commitment")
    try:
        return AESGCM(key).decrypt(nonce, ciphertext, head + canonical(context))
    except InvalidTag as error:
        raise ValueError("damaged") from error


@attr.s(hash=True)
class KeysteadConfig(MasterKeyConfig):
    """The ids and the material of one generation of a key. `key_id` is the ARN."""

    provider_id = "aws-kms"
    key = attr.ib(hash=True)
    material_id = attr.ib(hash=True)
    material = attr.ib(hash=True)


class KeysteadMasterKey(MasterKey):
    """A Keystead key as the SDK's plug-in interface sees one."""

    provider_id = "aws-kms"
    _config_class = KeysteadConfig

    def _parts(self):
        return self.config.key, self.config.material_id, self.config.material

    def _generate_data_key(self, algorithm, encryption_context):
        plaintext = os.urandom(algorithm.kdf_input_len)
        return DataKey(
            key_provider=self.key_provider,
            data_key=plaintext,
            encrypted_data_key=wrap(plaintext, encryption_context, *self._parts()),
        )

    def _encrypt_data_key(self, data_key, algorithm, encryption_context):
        return EncryptedDataKey(
            key_provider=self.key_provider,
            encrypted_data_key=wrap(data_key.data_key, encryption_context, *self._parts()),
        )

    def _decrypt_data_key(self, encrypted_data_key, algorithm, encryption_context):
        wrapped = encrypted_data_key.encrypted_data_key
        try:
            plaintext = unwrap(wrapped, encryption_context, *self._parts())
        except ValueError as error:
            raise DecryptKeyError(str(error)) from error
        return DataKey(self.key_provider, plaintext, wrapped)


class Several(MasterKeyProvider):
    """Encrypts under all of some keys."""

    provider_id = "several"
    _config_class = MasterKeyProviderConfig

    def __init__(self, keys):
        self.add_master_key_providers_from_list(keys)

    def __new__(cls, keys):
        return super().__new__(cls)

    def _new_master_key(self, key_id):
        raise InvalidKeyIdError(key_id)


def master_key(key):
    """The SDK's object for a job's KEY."""
    if "foreign" in key:
        wrapping = WrappingKey(
            wrapping_algorithm=WrappingAlgorithm.AES_256_GCM_IV12_TAG16_NO_PADDING,
            wrapping_key=bytes.fromhex(key["foreign"]),
            wrapping_key_type=EncryptionKeyType.SYMMETRIC,
        )
        return RawMasterKey(key_id=b"elsewhere", provider_id="raw", wrapping_key=wrapping)
    ids = {name: bytes.fromhex(key[name]) for name in ("key", "material_id", "material")}
    return KeysteadMasterKey(key_id=key["arn"], **ids)


def run(client, job):
    """One job's result."""
    if job["do"] == "decrypt":
        message = base64.b64decode(job["message"])
        plaintext, header = client.decrypt(source=message, key_provider=master_key(job["key"]))
        return {"plaintext": base64.b64encode(plaintext).decode(), "context": header.encryption_context}
    if job["do"] == "unwrap":
        parts = [bytes.fromhex(job["key"][name]) for name in ("key", "material_id", "material")]
        plaintext = unwrap(base64.b64decode(job["blob"]), job["context"], *parts)
        return {"plaintext": base64.b64encode(plaintext).decode()}
    message, _ = client.encrypt(
        source=base64.b64decode(job["plaintext"]),
        encryption_context=job["context"],
        key_provider=Several([master_key(key) for key in job["keys"]]),
        algorithm=Algorithm.get_by_id(job["suite"]),
        frame_length=job["frame"],
    )
    return {"message": base64.b64encode(message).decode()}


def main():
    """All jobs."""
    client = aws_encryption_sdk.EncryptionSDKClient()
    json.dump([run(client, job) for job in json.load(sys.stdin)], sys.stdout)


if __name__ == "__main__":
    main()
