//! Publishes volumes, makes their files anew, and takes them away.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use futures::future::join_all;
use rustix::fs::Gid;
use tokio::sync::{OwnedMutexGuard, Semaphore, watch};
use tokio::time::timeout;
use tonic::{Code, Status};
use tracing::{info, warn};

use super::api::{CallError, Kind, Server};
use super::client::Token;
use super::content::{Content, ContentError, Fetched};
use super::metrics::{Metrics, Operation};
use super::note;
use super::publication::{Invalid, Publication, Purpose, target};
use super::tmpfs::{self, MountError};
use super::told::{Made, Origin, Told};
use super::volumes::{Turn, Volume, Volumes};
use super::wire::PublishRequest;
use super::writer::{self, WriteError, Written};
use crate::api::volume::{VolumeSource, VolumeStage};

/// How long a call of kubelet waits for another one about the same volume.
const WAITING: Duration = Duration::from_secs(30);

/// Secrets of all volumes that are fetched at a time.
const FETCHED_BY_ALL: usize = 8;

type OwnTurn = OwnedMutexGuard<Turn>;

/// Why the files of a volume could not be made.
#[derive(Debug, thiserror::Error)]
pub(super) enum LoadError {
    /// The server does not give a secret.
    #[error("secret {secret}: {error}")]
    Fetch {
        /// Its name.
        secret: String,
        /// What the server says.
        #[source]
        error: CallError,
    },
    /// The secrets do not hold what is asked for.
    #[error(transparent)]
    Compose(#[from] ContentError),
    /// It cannot be mounted.
    #[error(transparent)]
    Mount(#[from] MountError),
    /// It cannot be written.
    #[error(transparent)]
    Write(#[from] WriteError),
    /// The work did not end.
    #[error("the files of the volume could not be written: the work was cut off")]
    CutOff,
}

impl LoadError {
    /// What the server means, if it was the server.
    pub(super) fn kind(&self) -> Option<Kind> {
        match self {
            Self::Fetch { error, .. } => Some(error.kind),
            Self::Compose(_) | Self::Mount(_) | Self::Write(_) | Self::CutOff => None,
        }
    }

    /// For metrics.
    pub(super) fn label(&self) -> &'static str {
        match self {
            Self::Fetch { error, .. } => error.kind.as_str(),
            Self::Compose(_) => "content",
            Self::Mount(MountError::NoRoom) | Self::Write(WriteError::NoRoom) => "no_room",
            Self::Mount(_) => "mount",
            Self::Write(_) | Self::CutOff => "write",
        }
    }

    fn code(&self) -> Code {
        match self {
            Self::Fetch { error, .. } => match error.kind {
                Kind::NotFound => Code::NotFound,
                Kind::Denied => Code::PermissionDenied,
                Kind::BadToken => Code::Unauthenticated,
                Kind::NotNow => Code::FailedPrecondition,
                Kind::Invalid => Code::InvalidArgument,
                Kind::Away => Code::Unavailable,
            },
            Self::Compose(ContentError::NoKey { .. }) => Code::NotFound,
            Self::Compose(ContentError::TooLarge(_))
            | Self::Mount(MountError::NoRoom)
            | Self::Write(WriteError::NoRoom) => Code::ResourceExhausted,
            Self::Compose(_) => Code::InvalidArgument,
            Self::Mount(_) | Self::Write(_) | Self::CutOff => Code::Internal,
        }
    }
}

impl From<LoadError> for Status {
    fn from(error: LoadError) -> Self {
        Self::new(error.code(), error.to_string())
    }
}

impl From<Invalid> for Status {
    fn from(invalid: Invalid) -> Self {
        let code = match invalid {
            Invalid::Attributes(_) | Invalid::Target(_) | Invalid::Block | Invalid::Group(_) => {
                Code::InvalidArgument
            }
            Invalid::NoPod(_) | Invalid::NoToken => Code::FailedPrecondition,
        };
        Self::new(code, invalid.to_string())
    }
}

/// Publishes the volumes of a node.
pub(super) struct Publisher {
    /// kubelet's root folder.
    pub(super) root: PathBuf,
    /// Who gives the values.
    pub(super) server: Server,
    /// What is published.
    pub(super) volumes: Arc<Volumes>,
    /// What is known of revisions.
    told: Mutex<Told>,
    /// Counts what is new of them.
    pub(super) news: watch::Sender<u64>,
    /// Told what happens.
    pub(super) metrics: Metrics,
    fetching: Semaphore,
}

impl Publisher {
    pub(super) fn new(
        root: PathBuf,
        server: Server,
        volumes: Arc<Volumes>,
        metrics: Metrics,
    ) -> Self {
        Self {
            root,
            server,
            volumes,
            told: Mutex::default(),
            news: watch::Sender::new(0),
            metrics,
            fetching: Semaphore::new(FETCHED_BY_ALL),
        }
    }

    /// Does something with what was told.
    pub(super) fn told<T>(&self, with: impl FnOnce(&mut Told) -> T) -> T {
        with(&mut self.told.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Publishes a volume for the first time, or takes the new token for one that is there: its files follow by themselves.
    pub(super) async fn publish(&self, asked: PublishRequest) -> Result<(), Status> {
        let publication = Publication::read(asked, &self.root)?;
        let (volume, mut turn) = self.enter(publication).await?;
        let (looked, fixed) = (volume.target.clone(), !volume.request.follows());
        let found = blocking(move || Ok(find(&looked, fixed)?)).await?;
        if let Found::Files(made) = found {
            self.volumes.found_written(&volume, made, Instant::now());
            return Ok(());
        }
        let loaded = self.load(&volume).await;
        if let Err(error) = &loaded {
            self.metrics.failed(Operation::Publish, error.label());
            // Nothing is left of a volume that is not there: kubelet may never ask to take it away.
            let target = volume.target.clone();
            let removed = blocking(move || Ok(tmpfs::remove(&target)?)).await;
            if let Err(error) = removed {
                warn!(%error, volume = %volume.target.display(), "an unfinished volume could not be taken away");
            }
            turn.gone = true;
            self.volumes.forget(&volume);
        }
        loaded?;
        info!(pod = %volume.pod.name, namespace = %volume.pod.namespace, "a volume was published");
        Ok(())
    }

    /// Takes away the volume at a place, whether it is known or not.
    pub(super) async fn unpublish(&self, path: &str) -> Result<(), Status> {
        let place = target(path, &self.root)?;
        let volume = self.volumes.at(&place);
        let mut turn = match &volume {
            Some(volume) => Some(wait_turn(volume).await?),
            None => None,
        };
        blocking(move || Ok(tmpfs::remove(&place)?)).await?;
        if let (Some(volume), Some(turn)) = (&volume, &mut turn) {
            turn.gone = true;
            self.volumes.forget(volume);
        }
        Ok(())
    }

    /// Makes the files of a running pod's volume again. They stay as they are when that fails.
    pub(super) async fn update(&self, volume: &Arc<Volume>) {
        let turn = volume.turn.lock().await;
        if turn.gone {
            return;
        }
        // A mount that somebody took away comes back when kubelet publishes it again, not by itself: the pod may be gone.
        let target = volume.target.clone();
        let there = blocking(move || Ok(is_written(&target)?)).await;
        match there {
            Ok(true) => {}
            Ok(false) => return volume.failed(None, Instant::now()),
            Err(error) => return self.update_failed(volume, &error),
        }
        match self.load(volume).await {
            Ok(Written::New) => self.metrics.updated(),
            Ok(Written::Same) => {}
            Err(error) => self.update_failed(volume, &error),
        }
    }

    fn update_failed(&self, volume: &Volume, error: &LoadError) {
        self.metrics.failed(Operation::Update, error.label());
        volume.failed(error.kind(), Instant::now());
        let problem = error.to_string();
        if volume.is_new_problem(&problem) {
            let (namespace, pod) = (&volume.pod.namespace, &volume.pod.name);
            warn!(%namespace, %pod, problem, "the files of a running pod stay as they are");
        }
    }

    /// The volume of a publication, and the right to change it.
    async fn enter(&self, publication: Publication) -> Result<(Arc<Volume>, OwnTurn), Status> {
        let volume = self.volumes.enter(publication);
        let turn = wait_turn(&volume).await?;
        // It was taken away while we waited. kubelet asks again if it still wants it.
        if turn.gone {
            Err(pending())
        } else {
            Ok((volume, turn))
        }
    }

    /// Fetches what a volume asks for and writes its files, mounting it first if need be. The turn is the caller's.
    async fn load(&self, volume: &Arc<Volume>) -> Result<Written, LoadError> {
        let fetched = self.fetch_all(volume).await?;
        let content = Content::compose(&volume.request, &fetched)?;
        let made: Made = fetched
            .into_iter()
            .map(|fetched| {
                fetched.map(|fetched| Origin {
                    revision: fetched.revision,
                    version: fetched.version,
                })
            })
            .collect();
        let (target, group) = (volume.target.clone(), volume.group);
        let noted = (!volume.request.follows()).then(|| made.clone());
        let written = blocking(move || place(&target, &content, group, noted.as_ref())).await?;
        self.volumes.made(volume, made, Instant::now());
        Ok(written)
    }

    /// What there is of each source, in their order.
    async fn fetch_all(&self, volume: &Volume) -> Result<Vec<Option<Fetched>>, LoadError> {
        let sources = volume.request.sources();
        // A secret that is named twice is read once, and is of one version.
        let different: BTreeSet<(&str, VolumeStage)> = sources.iter().map(name_of).collect();
        let token = volume.token();
        let mut fetches = Vec::with_capacity(different.len());
        for name in different {
            let (token, purpose) = (&token, volume.purpose);
            fetches.push(async move { (name, self.fetch(token, name, purpose).await) });
        }
        let fetched: BTreeMap<_, _> = join_all(fetches).await.into_iter().collect();
        let of = |source: &VolumeSource| match fetched.get(&name_of(source)) {
            Some(Ok(fetched)) => Ok(Some(fetched.clone())),
            Some(Err(error)) if error.kind == Kind::NotFound && source.optional => Ok(None),
            Some(Err(error)) => {
                if error.kind == Kind::BadToken {
                    volume.used_up(&token);
                }
                let (secret, error) = (source.secret.clone(), error.clone());
                Err(LoadError::Fetch { secret, error })
            }
            None => Ok(None),
        };
        sources.iter().map(of).collect()
    }

    async fn fetch(
        &self,
        token: &Token,
        (secret, stage): (&str, VolumeStage),
        purpose: Purpose,
    ) -> Result<Fetched, CallError> {
        // Never closed, so this is always `Ok`.
        let _turn = self.fetching.acquire().await;
        self.server.files(token, secret, stage, purpose).await
    }
}

fn name_of(source: &VolumeSource) -> (&str, VolumeStage) {
    (&source.secret, source.stage)
}

/// Whether a volume is mounted and has files.
fn is_written(target: &Path) -> Result<bool, MountError> {
    if !tmpfs::is_mounted(target)? {
        return Ok(false);
    }
    let folder = std::fs::File::open(target).map_err(MountError::Look)?;
    Ok(writer::is_written(folder))
}

/// What is at the place of a volume.
enum Found {
    /// No files, or no volume.
    Nothing,
    /// Files; of those that stay as they were perhaps with what they are made of.
    Files(Option<Made>),
}

fn find(target: &Path, fixed: bool) -> Result<Found, MountError> {
    if !is_written(target)? {
        return Ok(Found::Nothing);
    }
    let folder = std::fs::File::open(target).map_err(MountError::Look)?;
    Ok(Found::Files(fixed.then(|| note::read(folder)).flatten()))
}

/// Mounts a volume if it is not, and writes its files. `noted`: what they are made of, to be written down beside them.
fn place(
    target: &Path,
    content: &Content,
    group: Option<Gid>,
    noted: Option<&Made>,
) -> Result<Written, LoadError> {
    let mut room = content.room(rustix::param::page_size() as u64);
    if noted.is_some() {
        room.bytes += note::MOST;
        room.inodes += 1;
    }
    if !tmpfs::is_mounted(target)? {
        tmpfs::mount(target, room)?;
    }
    let root = tmpfs::open_for_writing(target, room)?;
    let written = writer::write(&root, content, group, SystemTime::now());
    let noted = noted.map_or(Ok(()), |made| note::write(&root, made));
    tmpfs::close_for_writing(target);
    let written = written?;
    if let Err(error) = noted {
        // The pod has its values; only what it has is not known to a successor of this process.
        warn!(%error, "which versions a pod started with was not written down");
    }
    Ok(written)
}

/// Does what waits for the system where it holds nobody up.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, LoadError> + Send + 'static,
) -> Result<T, LoadError> {
    let done = tokio::task::spawn_blocking(work).await;
    done.unwrap_or(Err(LoadError::CutOff))
}

/// The right to change a volume, which somebody else may have for now.
async fn wait_turn(volume: &Volume) -> Result<OwnTurn, Status> {
    let turn = Arc::clone(&volume.turn).lock_owned();
    timeout(WAITING, turn).await.map_err(|_| pending())
}

fn pending() -> Status {
    Status::aborted("another call about this volume is not done yet; try again")
}
