//! What tests of the node plugin share.

mod fake;
mod kubelet;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use zeroize::Zeroizing;

pub(super) use self::fake::{FakeServer, Files, eventually, within};
pub(super) use self::kubelet::{Asked, FakeKubelet};
use super::client::Token;
use super::content::{Content, Fetched, Room};
use super::publication::{Pod, Publication, Purpose};
use super::tmpfs;
use crate::api::volume::VolumeRequest;

/// A volume of secret `db` for a pod.
pub(super) fn publication(pod: &str, place: &str) -> Publication {
    Publication {
        target: Path::new(place).to_owned(),
        request: request(&[("secret", "db")]),
        purpose: Purpose::Files,
        pod: Pod {
            namespace: "shop".to_owned(),
            name: pod.to_owned(),
            uid: format!("uid of {pod}"),
        },
        group: None,
        token: Token::new("token"),
    }
}

/// A secret with these keys.
pub(super) fn fetched(pairs: &[(&str, &str)]) -> Fetched {
    let value = |text: &str| Arc::new(Zeroizing::new(text.as_bytes().to_vec()));
    let pairs = pairs.iter();
    Fetched {
        version: "0198e0c4-0000-7000-8000-000000000001".to_owned(),
        revision: "r1".to_owned(),
        data: pairs
            .map(|(key, text)| ((*key).to_owned(), value(text)))
            .collect(),
    }
}

/// What a volume with these attributes asks for.
pub(super) fn request(attributes: &[(&str, &str)]) -> VolumeRequest {
    let attributes = attributes.iter();
    let attributes: BTreeMap<_, _> = attributes
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
        .collect();
    VolumeRequest::parse(&attributes).unwrap()
}

/// The files of a volume with these attributes, of one secret.
pub(super) fn content(attributes: &[(&str, &str)], pairs: &[(&str, &str)]) -> Content {
    Content::compose(&request(attributes), &[Some(fetched(pairs))]).unwrap()
}

/// Whether this process may mount. If not, says so, since a test is then skipped.
pub(super) fn may_mount() -> bool {
    let folder = tempfile::tempdir().unwrap();
    let target = folder.path().join("mount");
    let mounted = tmpfs::mount(&target, Room::default());
    let removed = tmpfs::remove(&target);
    if let Err(error) = mounted {
        eprintln!("SKIPPED, since nothing can be mounted here: {error}");
        return false;
    }
    removed.unwrap();
    true
}
