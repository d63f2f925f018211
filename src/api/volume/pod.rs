//! The volumes of a pod that are our driver's.

use k8s_openapi::api::core::v1::{PodSpec, Volume};

use super::VolumeRequest;
use crate::api::names::CSI_DRIVER;

impl VolumeRequest {
    /// What a volume asks our driver for; `None` of another driver's, and of one whose attributes the node plugin would refuse.
    pub fn of(volume: &Volume) -> Option<Self> {
        let csi = volume.csi.as_ref().filter(|csi| csi.driver == CSI_DRIVER)?;
        Self::parse(csi.volume_attributes.as_ref()?).ok()
    }

    /// What all volumes of a pod ask for.
    pub fn all_of(pod: &PodSpec) -> impl Iterator<Item = Self> {
        pod.volumes.iter().flatten().filter_map(Self::of)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn only_volumes_of_our_driver_that_the_plugin_takes_ask_for_anything() {
        let csi = |driver: &str, attributes: Value| json!({"name": "v", "csi": {"driver": driver, "volumeAttributes": attributes}});
        let pod: PodSpec = serde_json::from_value(json!({"containers": [], "volumes": [
            csi(CSI_DRIVER, json!({"secret": "db"})),
            csi("secrets-store.csi.k8s.io", json!({"secret": "theirs"})),
            csi(CSI_DRIVER, json!({"other": "x"})),
            csi(CSI_DRIVER, json!({"secret": "refused", "other": "x"})),
            csi(CSI_DRIVER, json!({"sources": r#"[{"secret": "cache"}, {"secret": "db"}]"#})),
            {"name": "s", "secret": {"secretName": "native"}},
        ]}))
        .unwrap();
        let asked = VolumeRequest::all_of(&pod);
        let asked = asked.flat_map(|request| request.sources().to_vec());
        let secrets: Vec<_> = asked.map(|source| source.secret).collect();
        assert_eq!(secrets, ["db", "cache", "db"]);
        assert_eq!(VolumeRequest::all_of(&PodSpec::default()).count(), 0);
    }
}
