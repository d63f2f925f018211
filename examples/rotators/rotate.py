"""A rotator in Python: an API key that the provider makes, and nobody else can.

The provider: POST /keys makes one and answers with it, GET /check/<key> says whether it is valid, POST /revoke/<key> ends it.
"""

import json
import os
import sys
import urllib.error
import urllib.request

import keystead

PROVIDER = os.environ["PROVIDER"]
SECRET = os.environ["KEYSTEAD_SECRET"]
VERSION = os.environ["KEYSTEAD_VERSION"]
# The pending value is refused for what it is: another one is asked for.
REFUSED = 10


def provider(method, path):
    request = urllib.request.Request(f"{PROVIDER}{path}", method=method, data=b"" if method == "POST" else None)
    with urllib.request.urlopen(request, timeout=30) as answer:
        return answer.read().decode()


def key(folder):
    try:
        with open(f"/keystead/{folder}/apiKey", encoding="utf-8") as file:
            return file.read()
    except FileNotFoundError:
        return None


def create_secret():
    # Whoever was killed after the key was stored finds it; one that was made and not stored is lost, and harms nobody.
    if key("pending") is not None:
        return
    value = json.dumps({"apiKey": provider("POST", "/keys")})
    keystead.call(
        "PutSecretValue",
        SecretId=SECRET,
        ClientRequestToken=VERSION,
        SecretString=value,
        VersionStages=["AWSPENDING"],
    )


def set_secret():
    # The provider knows the key: it made it.
    pass


def test_secret():
    try:
        provider("GET", f"/check/{key('pending')}")
    except urllib.error.HTTPError as error:
        if error.code == 403:
            sys.exit(REFUSED)
        raise


def finish_secret():
    before = key("previous")
    if before is not None:
        provider("POST", f"/revoke/{before}")


STEPS = {
    "CreateSecret": create_secret,
    "SetSecret": set_secret,
    "TestSecret": test_secret,
    "FinishSecret": finish_secret,
}

if __name__ == "__main__":
    STEPS[os.environ["KEYSTEAD_STEP"]]()
    print(f"{os.environ['KEYSTEAD_STEP']} of version {VERSION} is done")
