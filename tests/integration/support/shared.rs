//! Control planes without the chart, for what needs only an API server.

use std::sync::{Arc, Weak};

use keystead_cluster::{ControlPlane, Options};
use tokio::sync::Mutex;

/// The control plane that tests of the same moment share. It ends with the last of them; a static handle would never
/// be dropped.
static SHARED: Mutex<Weak<ControlPlane>> = Mutex::const_new(Weak::new());

/// A control plane that no test may stop, pause or restart.
pub(crate) async fn shared_control_plane() -> Arc<ControlPlane> {
    let mut shared = SHARED.lock().await;
    if let Some(control_plane) = shared.upgrade() {
        return control_plane;
    }
    let control_plane = Arc::new(own_control_plane().await);
    *shared = Arc::downgrade(&control_plane);
    control_plane
}

/// A control plane of the caller's own.
pub(crate) async fn own_control_plane() -> ControlPlane {
    ControlPlane::start(Options::default())
        .await
        .expect("a control plane must start")
}
