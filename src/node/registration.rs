//! How kubelet gets to know the plugin: it finds a socket in its folder and asks who is there.

use std::path::PathBuf;
use std::sync::Arc;

use hyper::Request;
use tonic::body::Body;
use tracing::{error, info};

use super::grpc::{Answers, Reply, unary, unknown};
use super::wire::{Empty, REGISTRATION, RegistrationInfo, RegistrationStatus};
use crate::api::names::CSI_DRIVER;
use crate::telemetry::Component;

/// The version of CSI that is spoken.
const VERSION: &str = "1.0.0";

/// Registers the plugin with kubelet.
pub(super) struct Registration {
    /// Where the plugin is called.
    pub(super) endpoint: PathBuf,
    /// Told whether kubelet knows the plugin.
    pub(super) known: Component,
}

impl Registration {
    fn info(&self) -> RegistrationInfo {
        RegistrationInfo {
            kind: "CSIPlugin".to_owned(),
            name: CSI_DRIVER.to_owned(),
            endpoint: self.endpoint.display().to_string(),
            supported_versions: vec![VERSION.to_owned()],
        }
    }

    fn notified(&self, status: &RegistrationStatus) {
        if status.plugin_registered {
            info!("kubelet knows the plugin");
            self.known.ready();
        } else {
            error!(why = status.error, "kubelet did not register the plugin");
            self.known.not_ready(format!(
                "kubelet did not register the plugin: {}",
                status.error
            ));
        }
    }
}

impl Answers for Registration {
    async fn answer(self: Arc<Self>, path: String, request: Request<Body>) -> Reply {
        match path.strip_prefix('/').and_then(|path| path.split_once('/')) {
            Some((REGISTRATION, "GetInfo")) => {
                unary(request, |_: Empty| async move { Ok(self.info()) }).await
            }
            Some((REGISTRATION, "NotifyRegistrationStatus")) => {
                let answer = |status: RegistrationStatus| async move {
                    self.notified(&status);
                    Ok(Empty {})
                };
                unary(request, answer).await
            }
            _ => unknown(&path),
        }
    }
}
