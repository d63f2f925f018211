//! The calls that there are, by the names that AWS has for them.

use axum::http::{HeaderMap, HeaderName};

use super::MAX_BODY;
use super::error::ApiError;
use crate::telemetry::ApiCall;

/// The header that names the call.
const TARGET: HeaderName = HeaderName::from_static("x-amz-target");

/// Most bytes of a call that names what is on a node: 4,096 secrets by the longest names that there are.
const MAX_NODE_BODY: usize = 2 * 1024 * 1024;

/// Most bytes of a call that puts a value: each byte of it may be written as six, as `\u0000` is.
const MAX_PUT_BODY: usize = 6 * 65_536 + 16 * 1024;

/// Declares the calls of one service once, by the name that AWS has for the service.
macro_rules! calls {
    ($(#[$about:meta])* $set:ident of $service:literal; $($call:ident;)*) => {
        $(#[$about])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(super) enum $set { $($call,)* }

        impl $set {
            /// The call of that target.
            fn named(target: &str) -> Option<Self> {
                match target {
                    $(concat!($service, ".", stringify!($call)) => Some(Self::$call),)*
                    _ => None,
                }
            }

            /// Its name, without that of the service.
            pub(super) const fn name(self) -> &'static str {
                match self { $(Self::$call => stringify!($call),)* }
            }

            /// What metrics call it.
            const fn label(self) -> ApiCall {
                ApiCall::named(self.name())
            }
        }
    };
}

calls! {
    /// A call of Secrets Manager.
    SecretCall of "secretsmanager";
    GetSecretValue;
    BatchGetSecretValue;
    DescribeSecret;
    ListSecretVersionIds;
    GetRandomPassword;
    PutSecretValue;
    UpdateSecretVersionStage;
}

calls! {
    /// A call of KMS.
    KeyCall of "TrentService";
    Encrypt;
    Decrypt;
    GenerateDataKey;
    GenerateDataKeyWithoutPlaintext;
    ReEncrypt;
    GenerateRandom;
    DescribeKey;
}

calls! {
    /// A call of what delivers to pods: kubelet's driver on each node.
    DeliveryCall of "keystead";
    GetSecretFiles;
    WatchSecrets;
    ReportLoaded;
}

impl SecretCall {
    /// Whether it changes a secret.
    pub(super) const fn is_change(self) -> bool {
        matches!(self, Self::PutSecretValue | Self::UpdateSecretVersionStage)
    }

    /// Most bytes of a call.
    const fn max_body(self) -> usize {
        match self {
            Self::PutSecretValue => MAX_PUT_BODY,
            _ => MAX_BODY,
        }
    }
}

impl DeliveryCall {
    /// Most bytes of a call: some name every secret and every pod of a node.
    const fn max_body(self) -> usize {
        match self {
            Self::GetSecretFiles => MAX_BODY,
            Self::WatchSecrets | Self::ReportLoaded => MAX_NODE_BODY,
        }
    }
}

/// A call of the API.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Call {
    /// About a secret.
    Secret(SecretCall),
    /// About a key.
    Key(KeyCall),
    /// Of what delivers to pods.
    Delivery(DeliveryCall),
}

impl Call {
    /// The call that these headers name.
    pub(super) fn of(headers: &HeaderMap) -> Result<Self, ApiError> {
        let target = headers.get(TARGET).and_then(|target| target.to_str().ok());
        let named = |target| {
            let secret = SecretCall::named(target).map(Self::Secret);
            let key = || KeyCall::named(target).map(Self::Key);
            let delivery = || DeliveryCall::named(target).map(Self::Delivery);
            secret.or_else(key).or_else(delivery)
        };
        target.and_then(named).ok_or_else(|| {
            ApiError::unknown_operation(
                "the header X-Amz-Target names no call that there is, such as secretsmanager.GetSecretValue",
            )
        })
    }

    /// What metrics call it.
    pub(super) const fn label(self) -> ApiCall {
        match self {
            Self::Secret(call) => call.label(),
            Self::Key(call) => call.label(),
            Self::Delivery(call) => call.label(),
        }
    }

    /// Most bytes that its body may have.
    pub(super) const fn max_body(self) -> usize {
        match self {
            Self::Secret(call) => call.max_body(),
            Self::Key(_) => MAX_BODY,
            Self::Delivery(call) => call.max_body(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_is_named_by_its_target() {
        let named = |value: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(TARGET, value.parse().unwrap());
            Call::of(&headers).map_err(|error| error.code)
        };
        assert_eq!(
            named("secretsmanager.GetSecretValue"),
            Ok(Call::Secret(SecretCall::GetSecretValue))
        );
        assert_eq!(
            named("TrentService.Decrypt"),
            Ok(Call::Key(KeyCall::Decrypt))
        );
        assert_eq!(
            named("keystead.WatchSecrets"),
            Ok(Call::Delivery(DeliveryCall::WatchSecrets))
        );
        for other in [
            "GetSecretValue",
            "",
            "TrentService.GetSecretValue",
            "secretsmanager.getsecretvalue",
        ] {
            assert_eq!(named(other), Err("UnknownOperationException"), "{other}");
        }
        assert!(Call::of(&HeaderMap::new()).is_err());
    }
}
