//! The services of CSI that kubelet calls: who the plugin is, and volumes.

use std::future::Future;
use std::sync::Arc;

use hyper::Request;
use tonic::Status;
use tonic::body::Body;
use tracing::warn;

use super::grpc::{Answers, Reply, unary, unknown};
use super::publish::Publisher;
use super::wire::{
    BoolValue, CapabilitiesResponse, Capability, Empty, IDENTITY, NODE, NodeInfoResponse,
    PluginInfoResponse, ProbeResponse, PublishRequest, RpcCapability, UnpublishRequest,
    VOLUME_MOUNT_GROUP,
};
use crate::api::names::CSI_DRIVER;

/// Answers kubelet.
pub(super) struct Services {
    /// The node's name.
    pub(super) node: String,
    /// What does the work.
    pub(super) publisher: Arc<Publisher>,
}

impl Answers for Services {
    async fn answer(self: Arc<Self>, path: String, request: Request<Body>) -> Reply {
        match path.strip_prefix('/').and_then(|path| path.split_once('/')) {
            Some((IDENTITY, "GetPluginInfo")) => {
                unary(request, |_: Empty| async { Ok(plugin_info()) }).await
            }
            // It has none: no volume is made outside of a pod.
            Some((IDENTITY, "GetPluginCapabilities")) => {
                unary(request, |_: Empty| async { Ok(Empty {}) }).await
            }
            Some((IDENTITY, "Probe")) => unary(request, |_: Empty| async { Ok(ready()) }).await,
            Some((NODE, "NodeGetCapabilities")) => {
                unary(request, |_: Empty| async { Ok(capabilities()) }).await
            }
            Some((NODE, "NodeGetInfo")) => {
                let node_id = self.node.clone();
                unary(request, |_: Empty| async {
                    Ok(NodeInfoResponse { node_id })
                })
                .await
            }
            Some((NODE, "NodePublishVolume")) => {
                unary(request, |asked: PublishRequest| {
                    publish(self.publisher.clone(), asked)
                })
                .await
            }
            Some((NODE, "NodeUnpublishVolume")) => {
                let publisher = self.publisher.clone();
                unary(request, |asked: UnpublishRequest| {
                    unpublish(publisher, asked)
                })
                .await
            }
            _ => unknown(&path),
        }
    }
}

fn plugin_info() -> PluginInfoResponse {
    PluginInfoResponse {
        name: CSI_DRIVER.to_owned(),
        vendor_version: env!("CARGO_PKG_VERSION").to_owned(),
    }
}

fn ready() -> ProbeResponse {
    ProbeResponse {
        ready: Some(BoolValue { value: true }),
    }
}

fn capabilities() -> CapabilitiesResponse {
    let rpc = Some(RpcCapability {
        kind: VOLUME_MOUNT_GROUP,
    });
    CapabilitiesResponse {
        capabilities: vec![Capability { rpc }],
    }
}

async fn publish(publisher: Arc<Publisher>, asked: PublishRequest) -> Result<Empty, Status> {
    let target = asked.target_path.clone();
    let done = whole(async move { publisher.publish(asked).await }).await;
    if let Err(status) = &done {
        let (code, why) = (status.code(), status.message());
        warn!(volume = %target, ?code, why, "a volume could not be published");
    }
    done
}

async fn unpublish(publisher: Arc<Publisher>, asked: UnpublishRequest) -> Result<Empty, Status> {
    let target = asked.target_path.clone();
    let done = whole(async move { publisher.unpublish(&asked.target_path).await }).await;
    if let Err(status) = &done {
        let (code, why) = (status.code(), status.message());
        warn!(volume = %target, ?code, why, "a volume could not be taken away");
    }
    done
}

/// Does the work to its end, also when kubelet does not wait for it any more: half a mount helps nobody.
async fn whole(
    work: impl Future<Output = Result<(), Status>> + Send + 'static,
) -> Result<Empty, Status> {
    let done = tokio::spawn(work).await;
    done.unwrap_or_else(|_| Err(Status::internal("the work was cut off")))?;
    Ok(Empty {})
}
