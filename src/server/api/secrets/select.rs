//! Which version of a secret a caller asks for. Pure.

use super::stage;
use crate::secrets::{Manifest, Stage, VersionId, VersionRecord};
use crate::server::api::error::ApiError;

/// The version that is asked for; without either the current one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in crate::server::api) struct Selector {
    version: Option<VersionId>,
    stage: Option<Stage>,
}

impl Selector {
    /// The version of these names in AWS.
    ///
    /// # Errors
    /// One of them can be the name of none.
    pub(in crate::server::api) fn of(
        version: Option<&str>,
        stage: Option<&str>,
    ) -> Result<Self, ApiError> {
        let version = version.map(|id| {
            id.parse().map_err(|_| {
                ApiError::invalid_parameter(
                    "VersionId: the id of a version is a UUID in lower-case text",
                )
            })
        });
        let stage = stage.map(|name| {
            stage::named(name).ok_or_else(|| {
                ApiError::invalid_parameter(
                    "VersionStage: AWSCURRENT, AWSPREVIOUS, AWSPENDING, or a label of spec.versionStages, which has 1 to 256 printable \
                     ASCII characters without spaces",
                )
            })
        });
        Ok(Self {
            version: version.transpose()?,
            stage: stage.transpose()?,
        })
    }

    /// The version.
    ///
    /// # Errors
    /// There is none, or the two do not name the same.
    pub(super) fn of_manifest<'a>(
        &self,
        manifest: &'a Manifest,
    ) -> Result<&'a VersionRecord, ApiError> {
        let found = match (&self.version, &self.stage) {
            (Some(id), None) => manifest.version(id),
            (id, stage) => {
                let stage = stage.as_ref().unwrap_or(&Stage::Current);
                let mut versions = manifest.versions().iter();
                let staged = versions.find(|version| version.stages.contains(stage));
                staged.filter(|version| id.as_ref().is_none_or(|id| version.id == *id))
            }
        };
        found.ok_or_else(|| {
            ApiError::not_found("the secret has no version of this VersionId and VersionStage")
        })
    }

    /// What was asked for, for the audit log.
    pub(super) fn told(&self) -> impl Iterator<Item = (String, String)> {
        let version = self.version.as_ref();
        let version = version.map(|id| ("versionId".to_owned(), id.to_string()));
        let stage = self.stage.as_ref();
        let stage = stage.map(|stage| ("versionStage".to_owned(), stage.to_string()));
        version.into_iter().chain(stage)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::secrets::testing::{IDS, with_versions};

    fn selected(version: Option<&str>, stage: Option<&str>) -> Result<String, &'static str> {
        let selector = Selector::of(version, stage).map_err(|error| error.code)?;
        let found = selector
            .of_manifest(&with_versions(&IDS))
            .map(|v| v.id.to_string());
        found.map_err(|error| error.code)
    }

    #[test]
    fn a_version_is_found_by_its_id_its_stage_or_both() {
        assert_eq!(selected(None, None).unwrap(), IDS[2]);
        assert_eq!(selected(None, Some("AWSPREVIOUS")).unwrap(), IDS[1]);
        assert_eq!(selected(Some(IDS[0]), None).unwrap(), IDS[0]);
        assert_eq!(selected(Some(IDS[2]), Some("AWSCURRENT")).unwrap(), IDS[2]);
    }

    #[test]
    fn what_is_not_there_or_contradicts_itself_is_not_found() {
        let missing = Err("ResourceNotFoundException");
        let other = "00000000-0000-4000-8000-00000000000f";
        assert_eq!(selected(Some(other), None), missing);
        assert_eq!(selected(None, Some("AWSPENDING")), missing);
        assert_eq!(selected(None, Some("blue")), missing);
        assert_eq!(selected(Some(IDS[0]), Some("AWSCURRENT")), missing);
        let invalid = Err("InvalidParameterException");
        assert_eq!(selected(Some("1"), None), invalid);
        assert_eq!(selected(None, Some("AWSNEXT")), invalid);
    }
}
