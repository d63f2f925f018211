#!/bin/sh
# A rotator in shell: an API key that Keystead generates (spec.generate of the secret), and that a provider has to be told of.
# The provider here keeps a list of valid keys: POST /keys/<key> adds one, POST /revoke/<key> removes it, GET /check/<key> says whether it is
# valid.
set -eu

provider="${PROVIDER:?set PROVIDER to the URL of the provider}"
key() { cat "/keystead/$1/apiKey"; }

case "$KEYSTEAD_STEP" in
CreateSecret)
    # Nothing to do: the value is generated.
    ;;
SetSecret)
    # Adding a key that is there already changes nothing, so that this may run again.
    wget -q -O - --post-data= "$provider/keys/$(key pending)"
    ;;
TestSecret)
    wget -q -O - "$provider/check/$(key pending)"
    ;;
FinishSecret)
    # Every pod has the new key. The first rotation has nothing before it.
    if [ -f /keystead/previous/apiKey ]; then
        wget -q -O - --post-data= "$provider/revoke/$(key previous)"
    fi
    ;;
*)
    echo "there is no step $KEYSTEAD_STEP" >&2
    exit 1
    ;;
esac
echo "$KEYSTEAD_STEP of version $KEYSTEAD_VERSION is done"
