"""The part of Keystead's API that a rotator needs, with nothing but Python's own library.

As a pod of a rotation: KEYSTEAD_URL, KEYSTEAD_CA_FILE and KEYSTEAD_TOKEN_FILE are set.
"""

import json
import os
import ssl
import urllib.error
import urllib.request


class ApiError(Exception):
    """An error of the API, by the name that AWS has for it."""

    def __init__(self, code, message):
        super().__init__(f"{code}: {message}")
        self.code = code


def call(action, **parameters):
    """Calls an action of Secrets Manager, such as GetSecretValue."""
    # The token is replaced while the pod runs: it is read for each call.
    with open(os.environ["KEYSTEAD_TOKEN_FILE"], encoding="ascii") as file:
        token = file.read().strip()
    request = urllib.request.Request(
        os.environ["KEYSTEAD_URL"],
        data=json.dumps(parameters).encode(),
        headers={
            "Authorization": f"Bearer {token}",
            "Content-Type": "application/x-amz-json-1.1",
            "X-Amz-Target": f"secretsmanager.{action}",
        },
    )
    trust = ssl.create_default_context(cafile=os.environ["KEYSTEAD_CA_FILE"])
    try:
        with urllib.request.urlopen(request, context=trust, timeout=30) as answer:
            return json.load(answer)
    except urllib.error.HTTPError as error:
        told = json.load(error)
        raise ApiError(told["__type"], told.get("message", "")) from None
