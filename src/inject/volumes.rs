//! Volumes of Secrets become volumes of the CSI driver.

use k8s_openapi::api::core::v1::{
    CSIVolumeSource, KeyToPath, ProjectedVolumeSource, SecretVolumeSource, Volume, VolumeProjection,
};

use crate::api::names::CSI_DRIVER;
use crate::api::volume::{FileMode, VolumeItem, VolumeRequest, VolumeSource};

/// Gives the `ManagedSecret` behind the name of a Secret, if its value comes by the driver.
pub(super) type Managed<'a> = dyn Fn(&str) -> Option<String> + 'a;

/// Why a volume cannot be replaced.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum VolumeRefused {
    /// One volume is made by one driver.
    #[error("mixes secret {secret}, which is sealed, with {other}")]
    Mixed {
        /// A sealed one.
        secret: String,
        /// What else is in it.
        other: String,
    },
    /// What it asks for is more than the driver takes.
    #[error("cannot become a volume of {CSI_DRIVER}, since {0}")]
    Invalid(String),
}

/// What becomes of a volume; `None` if it has to do with no sealed secret.
pub(super) fn replaced(
    volume: &Volume,
    managed: &Managed<'_>,
) -> Result<Option<Volume>, VolumeRefused> {
    // A volume with a source beside is refused by the API server, which must see it.
    let request = match (&volume.secret, &volume.projected, &volume.csi) {
        (Some(secret), None, None) => of_secret(secret, managed)?,
        (None, Some(projected), None) => of_projected(projected, managed)?,
        _ => None,
    };
    Ok(request.map(|request| driven(&volume.name, &request)))
}

/// A volume of the driver.
pub(super) fn driven(name: &str, request: &VolumeRequest) -> Volume {
    Volume {
        name: name.to_owned(),
        csi: Some(CSIVolumeSource {
            driver: CSI_DRIVER.to_owned(),
            read_only: Some(true),
            volume_attributes: Some(request.attributes()),
            ..CSIVolumeSource::default()
        }),
        ..Volume::default()
    }
}

fn of_secret(
    secret: &SecretVolumeSource,
    managed: &Managed<'_>,
) -> Result<Option<VolumeRequest>, VolumeRefused> {
    let Some(name) = secret.secret_name.as_deref().and_then(managed) else {
        return Ok(None);
    };
    let source = source(name, secret.items.as_deref(), secret.optional)?;
    request(vec![source], secret.default_mode).map(Some)
}

fn of_projected(
    projected: &ProjectedVolumeSource,
    managed: &Managed<'_>,
) -> Result<Option<VolumeRequest>, VolumeRefused> {
    let sources = projected.sources.as_deref().unwrap_or_default();
    let named = |source: &VolumeProjection| Some(source.secret.as_ref()?.name.clone());
    let is_sealed = |source: &VolumeProjection| {
        only_secret(source) && named(source).is_some_and(|name| managed(&name).is_some())
    };
    let Some(secret) = sources.iter().find(|s| is_sealed(s)).and_then(named) else {
        return Ok(None);
    };
    if let Some(other) = sources.iter().find(|source| !is_sealed(source)) {
        let other = what(other);
        return Err(VolumeRefused::Mixed { secret, other });
    }
    let sources = sources.iter().filter_map(|one| one.secret.as_ref());
    let sources: Result<Vec<_>, _> = sources
        .filter_map(|secret| Some((managed(&secret.name)?, secret)))
        .map(|(name, secret)| source(name, secret.items.as_deref(), secret.optional))
        .collect();
    request(sources?, projected.default_mode).map(Some)
}

fn only_secret(source: &VolumeProjection) -> bool {
    let bare = VolumeProjection {
        secret: source.secret.clone(),
        ..VolumeProjection::default()
    };
    *source == bare
}

/// A source of a projected volume in words.
fn what(source: &VolumeProjection) -> String {
    if let Some(secret) = &source.secret {
        return format!(
            "Secret {}, which is not",
            super::refusal::shown(&secret.name)
        );
    }
    let kinds = [
        (source.config_map.is_some(), "a ConfigMap"),
        (source.downward_api.is_some(), "fields of the pod"),
        (source.service_account_token.is_some(), "a token"),
        (source.cluster_trust_bundle.is_some(), "a trust bundle"),
        (source.pod_certificate.is_some(), "a certificate"),
    ];
    let kind = kinds.into_iter().find(|(is, _)| *is);
    kind.map_or("a source of another kind", |(_, kind)| kind)
        .to_owned()
}

fn source(
    secret: String,
    items: Option<&[KeyToPath]>,
    optional: Option<bool>,
) -> Result<VolumeSource, VolumeRefused> {
    let items = items.unwrap_or_default().iter().map(|item| {
        Ok(VolumeItem {
            key: item.key.clone(),
            path: item.path.clone(),
            mode: item.mode.map(mode).transpose()?,
        })
    });
    let items = items.collect::<Result<_, VolumeRefused>>()?;
    Ok(VolumeSource {
        items,
        optional: optional.unwrap_or_default(),
        ..VolumeSource::of(secret)
    })
}

fn request(
    sources: Vec<VolumeSource>,
    default_mode: Option<i32>,
) -> Result<VolumeRequest, VolumeRefused> {
    let default_mode = default_mode.map(mode).transpose()?.unwrap_or_default();
    VolumeRequest::new(sources, default_mode)
        .map_err(|error| VolumeRefused::Invalid(error.to_string()))
}

fn mode(bits: i32) -> Result<FileMode, VolumeRefused> {
    let bits = u32::try_from(bits).unwrap_or(u32::MAX);
    FileMode::try_from(bits).map_err(|error| VolumeRefused::Invalid(error.to_owned()))
}
