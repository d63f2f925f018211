//! The messages of CSI version 1 and of kubelet's registration of plugins, with the fields that are used here. What else a caller
//! sends is skipped, as Protocol Buffers have it.

use std::collections::HashMap;

use prost::Message;

/// The name of the CSI service that tells who the plugin is.
pub(super) const IDENTITY: &str = "csi.v1.Identity";
/// The name of the CSI service that mounts.
pub(super) const NODE: &str = "csi.v1.Node";
/// The name of the service by which kubelet gets to know plugins.
pub(super) const REGISTRATION: &str = "pluginregistration.Registration";

/// A message without fields that are used.
#[derive(Clone, Copy, PartialEq, Eq, Message)]
pub(super) struct Empty {}

/// Answer to `GetPluginInfo`.
#[derive(Clone, PartialEq, Eq, Message)]
pub(super) struct PluginInfoResponse {
    #[prost(string, tag = "1")]
    pub(super) name: String,
    #[prost(string, tag = "2")]
    pub(super) vendor_version: String,
}

/// Answer to `Probe`. The field is a `google.protobuf.BoolValue`.
#[derive(Clone, PartialEq, Eq, Message)]
pub(super) struct ProbeResponse {
    #[prost(message, optional, tag = "1")]
    pub(super) ready: Option<BoolValue>,
}

/// A boolean that may be absent.
#[derive(Clone, Copy, PartialEq, Eq, Message)]
pub(super) struct BoolValue {
    #[prost(bool, tag = "1")]
    pub(super) value: bool,
}

/// `NodePublishVolume`. Not shown by Debug: it holds the token of a pod.
#[derive(Clone, PartialEq, Eq, Message)]
#[prost(skip_debug)]
pub(super) struct PublishRequest {
    #[prost(string, tag = "1")]
    pub(super) volume_id: String,
    #[prost(string, tag = "4")]
    pub(super) target_path: String,
    #[prost(message, optional, tag = "5")]
    pub(super) volume_capability: Option<VolumeCapability>,
    #[prost(bool, tag = "6")]
    pub(super) readonly: bool,
    #[prost(map = "string, string", tag = "7")]
    pub(super) secrets: HashMap<String, String>,
    #[prost(map = "string, string", tag = "8")]
    pub(super) volume_context: HashMap<String, String>,
}

impl std::fmt::Debug for PublishRequest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PublishRequest")
            .field("target_path", &self.target_path)
            .finish_non_exhaustive()
    }
}

/// How a volume is to be used.
#[derive(Clone, PartialEq, Eq, Message)]
pub(super) struct VolumeCapability {
    #[prost(message, optional, tag = "1")]
    pub(super) block: Option<Empty>,
    #[prost(message, optional, tag = "2")]
    pub(super) mount: Option<MountVolume>,
}

/// How a volume is to be mounted.
#[derive(Clone, PartialEq, Eq, Message)]
pub(super) struct MountVolume {
    #[prost(string, tag = "3")]
    pub(super) volume_mount_group: String,
}

/// `NodeUnpublishVolume`.
#[derive(Clone, PartialEq, Eq, Message)]
pub(super) struct UnpublishRequest {
    #[prost(string, tag = "1")]
    pub(super) volume_id: String,
    #[prost(string, tag = "2")]
    pub(super) target_path: String,
}

/// Answer to `NodeGetCapabilities`.
#[derive(Clone, PartialEq, Eq, Message)]
pub(super) struct CapabilitiesResponse {
    #[prost(message, repeated, tag = "1")]
    pub(super) capabilities: Vec<Capability>,
}

/// Something that the plugin can do.
#[derive(Clone, PartialEq, Eq, Message)]
pub(super) struct Capability {
    #[prost(message, optional, tag = "1")]
    pub(super) rpc: Option<RpcCapability>,
}

/// Something that the plugin can do in a call.
#[derive(Clone, Copy, PartialEq, Eq, Message)]
pub(super) struct RpcCapability {
    #[prost(int32, tag = "1")]
    pub(super) kind: i32,
}

/// [`RpcCapability::kind`]: the plugin gives the files to the pod's `fsGroup` itself.
pub(super) const VOLUME_MOUNT_GROUP: i32 = 6;

/// Answer to `NodeGetInfo`.
#[derive(Clone, PartialEq, Eq, Message)]
pub(super) struct NodeInfoResponse {
    #[prost(string, tag = "1")]
    pub(super) node_id: String,
}

/// Answer to kubelet's `GetInfo`.
#[derive(Clone, PartialEq, Eq, Message)]
pub(super) struct RegistrationInfo {
    #[prost(string, tag = "1")]
    pub(super) kind: String,
    #[prost(string, tag = "2")]
    pub(super) name: String,
    #[prost(string, tag = "3")]
    pub(super) endpoint: String,
    #[prost(string, repeated, tag = "4")]
    pub(super) supported_versions: Vec<String>,
}

/// What kubelet says of the registration.
#[derive(Clone, PartialEq, Eq, Message)]
pub(super) struct RegistrationStatus {
    #[prost(bool, tag = "1")]
    pub(super) plugin_registered: bool,
    #[prost(string, tag = "2")]
    pub(super) error: String,
}
