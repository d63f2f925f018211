//! What kubelet asks for when it publishes a volume. Pure.

use std::collections::{BTreeMap, HashMap};
use std::path::{Component, Path, PathBuf};

use rustix::fs::Gid;
use serde::Deserialize;
use zeroize::Zeroizing;

use super::client::Token;
use super::wire::PublishRequest;
use crate::api::names::{AUDIENCE, CSI_DRIVER};
use crate::api::volume::{VolumeError, VolumeRequest};
use crate::inject::SOURCE_VOLUME;

/// Where kubelet puts the tokens that the driver asked for.
const TOKENS: &str = "csi.storage.k8s.io/serviceAccount.tokens";
const POD_NAME: &str = "csi.storage.k8s.io/pod.name";
const POD_NAMESPACE: &str = "csi.storage.k8s.io/pod.namespace";
const POD_UID: &str = "csi.storage.k8s.io/pod.uid";
/// Longest token, and longest path, that is taken.
const MAX_TOKEN: usize = 16 * 1024;
const MAX_PATH: usize = 4096;

/// A pod.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Pod {
    /// Its namespace.
    pub(super) namespace: String,
    /// Its name.
    pub(super) name: String,
    /// Its UID.
    pub(super) uid: String,
}

/// What the files of a volume are for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    /// Containers of the pod read them.
    Files,
    /// kubelet takes variables from what is made of them.
    Variables,
}

/// A volume that shall be there.
#[derive(Debug)]
pub(super) struct Publication {
    /// Where.
    pub(super) target: PathBuf,
    /// With what.
    pub(super) request: VolumeRequest,
    /// What for.
    pub(super) purpose: Purpose,
    /// For whom.
    pub(super) pod: Pod,
    /// Who shall be able to read it, beside root and what the modes say.
    pub(super) group: Option<Gid>,
    /// What the pod proves itself with.
    pub(super) token: Token,
}

/// Why a volume cannot be published whatever the secrets hold.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Invalid {
    /// What the pod's author wrote.
    #[error(transparent)]
    Attributes(#[from] VolumeError),
    /// The path is not one of kubelet's for a volume.
    #[error("{0:?} is no path of a volume of a pod below kubelet's root folder")]
    Target(String),
    /// The volume is wanted as a device.
    #[error("a volume of {CSI_DRIVER} is a folder of files and no block device")]
    Block,
    /// The group is no number.
    #[error("{0:?} is not the number of a group")]
    Group(String),
    /// kubelet does not say which pod it is.
    #[error("kubelet does not say {0}: the CSIDriver {CSI_DRIVER} must have podInfoOnMount")]
    NoPod(&'static str),
    /// kubelet sends no token.
    #[error(
        "kubelet sends no token of the pod for audience {AUDIENCE}: the CSIDriver {CSI_DRIVER} must have it in tokenRequests"
    )]
    NoToken,
}

#[derive(Deserialize)]
struct TokenOfAudience {
    token: String,
}

impl Publication {
    /// Reads a call of kubelet, whose root folder is `root`.
    pub(super) fn read(asked: PublishRequest, root: &Path) -> Result<Self, Invalid> {
        let target = target(&asked.target_path, root)?;
        let capability = asked.volume_capability.unwrap_or_default();
        if capability.block.is_some() {
            return Err(Invalid::Block);
        }
        let group = capability.mount.unwrap_or_default().volume_mount_group;
        let attributes = asked.volume_context;
        let said = |name: &'static str| {
            let value = attributes.get(name).filter(|value| !value.is_empty());
            value.cloned().ok_or(Invalid::NoPod(name))
        };
        let pod = Pod {
            namespace: said(POD_NAMESPACE)?,
            name: said(POD_NAME)?,
            uid: said(POD_UID)?,
        };
        let token = token(&asked.secrets)
            .or_else(|| token(&attributes))
            .ok_or(Invalid::NoToken)?;
        let attributes: BTreeMap<_, _> = attributes.into_iter().collect();
        Ok(Self {
            purpose: purpose(&target),
            target,
            request: VolumeRequest::parse(&attributes)?,
            pod,
            group: parse_group(group)?,
            token,
        })
    }
}

/// The folder of a volume, if it is one of kubelet's for pods.
pub(super) fn target(path: &str, root: &Path) -> Result<PathBuf, Invalid> {
    let refused = || Invalid::Target(path.chars().take(MAX_PATH).collect());
    let found = Path::new(path);
    let inner = found.strip_prefix(root.join("pods"));
    let inner = inner.map_err(|_| refused())?;
    let plain = |part| matches!(part, Component::Normal(_));
    let short = path.len() <= MAX_PATH && !path.contains('\0');
    // <uid>/volumes/<plugin>/<volume>/mount
    if !short || !found.components().skip(1).all(plain) || inner.components().count() < 2 {
        return Err(refused());
    }
    Ok(found.to_owned())
}

/// As the name says that the volume has in the pod: kubelet says no more of it.
fn purpose(target: &Path) -> Purpose {
    let volume = target.parent().and_then(Path::file_name);
    if volume.is_some_and(|name| name == SOURCE_VOLUME) {
        Purpose::Variables
    } else {
        Purpose::Files
    }
}

fn parse_group(group: String) -> Result<Option<Gid>, Invalid> {
    if group.is_empty() {
        return Ok(None);
    }
    // The largest number means "no change" to the system.
    let number = group.parse().ok().filter(|number| *number != u32::MAX);
    let number = number.ok_or(Invalid::Group(group))?;
    Ok(Some(Gid::from_raw(number)))
}

fn token(of: &HashMap<String, String>) -> Option<Token> {
    let tokens: HashMap<String, TokenOfAudience> = serde_json::from_str(of.get(TOKENS)?).ok()?;
    let mut tokens: Vec<_> = tokens
        .into_iter()
        .map(|(audience, found)| (audience, Zeroizing::new(found.token)))
        .collect();
    let ours = tokens
        .iter()
        .position(|(audience, _)| audience == AUDIENCE)?;
    let (_, token) = tokens.swap_remove(ours);
    (1..=MAX_TOKEN)
        .contains(&token.len())
        .then(|| Token::new(&token))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::node::wire::{Empty, MountVolume, VolumeCapability};

    const ROOT: &str = "/var/lib/kubelet";
    const TARGET: &str = "/var/lib/kubelet/pods/u/volumes/kubernetes.io~csi/v/mount";
    const TOKENS_JSON: &str = r#"{"other":{"token":"x"},"keystead.dev":{"token":"t","expirationTimestamp":"2026-01-01T00:00:00Z"}}"#;

    fn asked() -> PublishRequest {
        let context = [
            (POD_NAME, "web-0"),
            (POD_NAMESPACE, "shop"),
            (POD_UID, "u"),
            ("csi.storage.k8s.io/ephemeral", "true"),
            ("secret", "db"),
        ];
        PublishRequest {
            volume_id: "csi-1".to_owned(),
            target_path: TARGET.to_owned(),
            volume_context: context
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .into(),
            secrets: HashMap::from([(TOKENS.to_owned(), TOKENS_JSON.to_owned())]),
            ..PublishRequest::default()
        }
    }

    fn read(asked: PublishRequest) -> Result<Publication, Invalid> {
        Publication::read(asked, Path::new(ROOT))
    }

    #[test]
    fn a_call_of_kubelet_is_understood() {
        let mut asked = asked();
        let mount = MountVolume {
            volume_mount_group: "2000".to_owned(),
        };
        asked.volume_capability = Some(VolumeCapability {
            block: None,
            mount: Some(mount),
        });
        let read = read(asked).unwrap();
        assert_eq!(read.target, Path::new(TARGET));
        assert_eq!(read.group, Some(Gid::from_raw(2000)));
        assert_eq!(
            (read.pod.namespace.as_str(), read.pod.name.as_str()),
            ("shop", "web-0")
        );
        assert!(!read.token.differs(&Token::new("t")));
        assert_eq!(read.request.secrets(), ["db"].into());
        assert_eq!(read.purpose, Purpose::Files);
    }

    #[test]
    fn the_volume_that_variables_are_made_from_is_known_by_its_name() {
        let mut asked = asked();
        asked.target_path = TARGET.replace("/v/", "/keystead-env-source/");
        assert_eq!(read(asked).unwrap().purpose, Purpose::Variables);
    }

    #[test]
    fn the_token_may_be_among_the_attributes() {
        let mut asked = asked();
        asked.volume_context.extend(asked.secrets.drain());
        assert!(read(asked).is_ok());
    }

    #[test]
    fn a_token_of_another_audience_is_none() {
        for tokens in [
            "",
            "{",
            "{}",
            r#"{"":{"token":"x"}}"#,
            r#"{"keystead.dev":{"token":""}}"#,
        ] {
            let mut asked = asked();
            asked.secrets.insert(TOKENS.to_owned(), tokens.to_owned());
            assert_eq!(read(asked).err(), Some(Invalid::NoToken), "{tokens}");
        }
    }

    #[test]
    fn what_is_missing_is_named() {
        for name in [POD_NAME, POD_NAMESPACE, POD_UID] {
            let mut asked = asked();
            asked.volume_context.remove(name);
            assert_eq!(read(asked).err(), Some(Invalid::NoPod(name)));
        }
        let mut asked = asked();
        asked.volume_context.remove("secret");
        assert_eq!(read(asked).err(), Some(VolumeError::NoSecret.into()));
    }

    #[test]
    fn volumes_are_nowhere_else_than_below_kubelets_folder_for_pods() {
        for path in [
            "",
            "relative",
            "/etc",
            "/var/lib/kubelet",
            "/var/lib/kubelet/pods",
            "/var/lib/kubelet/pods/u",
            "/var/lib/kubelet/plugins/x/y/z",
            "/var/lib/kubelet/pods/u/../../../../../etc/cron.d",
            "/var/lib/kubelet/podsx/u/v",
        ] {
            assert!(target(path, Path::new(ROOT)).is_err(), "{path}");
        }
    }

    #[test]
    fn devices_and_nonsense_groups_are_refused() {
        let mut block = asked();
        block.volume_capability = Some(VolumeCapability {
            block: Some(Empty {}),
            mount: None,
        });
        assert_eq!(read(block).err(), Some(Invalid::Block));
        for group in ["-1", "root", "4294967295", "4294967296"] {
            assert!(parse_group(group.to_owned()).is_err(), "{group}");
        }
    }

    #[test]
    fn a_call_is_never_shown_with_its_token() {
        let shown = format!("{:?} {:?}", asked(), read(asked()).unwrap());
        assert!(
            !shown.contains("\"t\"") && !shown.contains(r#"token\":"#),
            "{shown}"
        );
    }
}
