"""Runs a rotation function that was written for AWS Lambda, as it is: `python3 lambda_wrapper.py <module>`.

The function gets the event that Lambda gives it, and a client of Secrets Manager from `boto3.client`. Where boto3 is installed, that is the real one,
with a bearer token instead of a signature; where it is not, a small one with the calls that such functions use.
"""

import importlib
import logging
import os
import sys
import types

try:
    import boto3
except ImportError:
    boto3 = None

import keystead

SERVICE = "secretsmanager"


class Client:
    """The calls of Secrets Manager that rotation functions use."""

    class exceptions:
        class ResourceNotFoundException(Exception):
            """There is no such secret or version."""

    meta = types.SimpleNamespace(endpoint_url=os.environ["KEYSTEAD_URL"])

    def __getattr__(self, name):
        action = "".join(word.capitalize() for word in name.split("_"))

        def call(**parameters):
            try:
                return keystead.call(action, **parameters)
            except keystead.ApiError as error:
                if error.code == "ResourceNotFoundException":
                    raise self.exceptions.ResourceNotFoundException(str(error)) from None
                raise

        return call


def client(service, **_options):
    if service != SERVICE:
        raise ValueError(f"only {SERVICE} is served, not {service}")
    if boto3 is None:
        return Client()
    from botocore import UNSIGNED
    from botocore.config import Config

    made = boto3.session.Session(region_name="local").client(
        service,
        endpoint_url=os.environ["KEYSTEAD_URL"],
        verify=os.environ["KEYSTEAD_CA_FILE"],
        config=Config(signature_version=UNSIGNED),
    )

    def bearer(request, **_):
        with open(os.environ["KEYSTEAD_TOKEN_FILE"], encoding="ascii") as file:
            request.headers["Authorization"] = f"Bearer {file.read().strip()}"

    made.meta.events.register("before-send", bearer)
    return made


def main(module):
    logging.basicConfig(level=logging.INFO, stream=sys.stdout)
    # What the function imports as boto3 gives it our client.
    if boto3 is None:
        sys.modules["boto3"] = types.SimpleNamespace(client=client)
    else:
        boto3.client = client
    os.environ.setdefault("SECRETS_MANAGER_ENDPOINT", os.environ["KEYSTEAD_URL"])
    step = os.environ["KEYSTEAD_STEP"]
    event = {
        "SecretId": os.environ["KEYSTEAD_SECRET"],
        "ClientRequestToken": os.environ["KEYSTEAD_VERSION"],
        "Step": step[0].lower() + step[1:],
    }
    importlib.import_module(module).lambda_handler(event, None)


if __name__ == "__main__":
    main(sys.argv[1])
