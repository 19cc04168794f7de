"""moto as AWS KMS with one key that survives a restart, which moto's own do not.

    provider.py PORT KEY_ID KEY_MATERIAL_IN_HEX
"""

import sys

from moto.kms.models import kms_backends
from moto.server import main

REGION, ACCOUNT = "us-east-1", "123456789012"


def plant(key_id: str, material: bytes) -> None:
    backend = kms_backends[ACCOUNT][REGION]
    key = backend.create_key(policy=None, key_usage="ENCRYPT_DECRYPT", key_spec="SYMMETRIC_DEFAULT", description="", tags=None)
    del backend.keys[key.id]
    key.arn, key.id, key.key_material = key.arn.replace(key.id, key_id), key_id, material
    backend.keys[key_id] = key


if __name__ == "__main__":
    plant(sys.argv[2], bytes.fromhex(sys.argv[3]))
    main(["-H", "127.0.0.1", "-p", sys.argv[1]])
