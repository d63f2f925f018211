//! The volumes that are published on this node, as far as this process was told. It holds no value.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use rustix::fs::Gid;
use tokio::sync::{Mutex as Turns, watch};

use super::api::{LoadedPod, SecretName};
use super::client::Token;
use super::pace::chance;
use super::publication::{Pod, Publication, Purpose};
use super::told::{Known, Made, Progress, Told};
use crate::api::volume::{VolumeRequest, VolumeStage};

/// A published volume.
pub(super) struct Volume {
    /// Where it is.
    pub(super) target: PathBuf,
    /// What it shall hold.
    pub(super) request: VolumeRequest,
    /// What for.
    pub(super) purpose: Purpose,
    /// Whose it is.
    pub(super) pod: Pod,
    /// Who may read it.
    pub(super) group: Option<Gid>,
    /// The secrets of its sources, in their order.
    secrets: Vec<SecretName>,
    /// Whoever changes something at its place holds this.
    pub(super) turn: Arc<Turns<Turn>>,
    state: Mutex<State>,
}

/// The right to change something.
#[derive(Default)]
pub(super) struct Turn {
    /// It is unpublished: who waited for the turn has nothing to do any more.
    pub(super) gone: bool,
}

struct State {
    token: Token,
    /// The server does not take the token any more; kubelet brings another one.
    token_used_up: bool,
    progress: Progress,
    /// Whether there are files, by this process or by a predecessor.
    written: bool,
    /// What was last wrong, so that it is said once.
    problem: Option<String>,
    /// In what order volumes got their files.
    number: u64,
}

impl Volume {
    fn new(publication: Publication) -> Self {
        let namespace = &publication.pod.namespace;
        let sources = publication.request.sources().iter();
        let secrets = sources.map(|source| SecretName {
            namespace: namespace.clone(),
            name: source.secret.clone(),
        });
        Self {
            secrets: secrets.collect(),
            target: publication.target,
            request: publication.request,
            purpose: publication.purpose,
            pod: publication.pod,
            group: publication.group,
            turn: Arc::default(),
            state: Mutex::new(State {
                token: publication.token,
                token_used_up: false,
                progress: Progress::default(),
                written: false,
                problem: None,
                number: 0,
            }),
        }
    }

    /// What its pod proves itself with.
    pub(super) fn token(&self) -> Token {
        self.state().token.clone()
    }

    /// kubelet brought a token.
    fn renew(&self, token: Token) {
        let mut state = self.state();
        if state.token.differs(&token) {
            state.token = token;
            state.token_used_up = false;
        }
    }

    /// The server does not take that token any more.
    pub(super) fn used_up(&self, token: &Token) {
        let mut state = self.state();
        if !state.token.differs(token) {
            state.token_used_up = true;
        }
    }

    /// Whether that is another problem than the last one.
    pub(super) fn is_new_problem(&self, problem: &str) -> bool {
        let mut state = self.state();
        let new = state.problem.as_deref() != Some(problem);
        state.problem = Some(problem.to_owned());
        new
    }

    /// When its files must be made again; `None`: they need not, or cannot.
    pub(super) fn due(&self, told: &Told, now: Instant) -> Option<Instant> {
        let known: Vec<Known> = told.of_all(&self.secrets);
        let mut state = self.state();
        // Files that are not there yet are made while kubelet waits, and some stay as they were then.
        if !state.written || state.token_used_up || !self.request.follows() {
            return None;
        }
        state.progress.due(&known, now, chance())
    }

    /// Whether its files are other ones than they should be, although it was tried.
    fn is_behind(&self) -> bool {
        self.state().progress.is_behind()
    }

    /// Its files could not be made.
    pub(super) fn failed(&self, kind: Option<super::api::Kind>, now: Instant) {
        self.state().progress.failed(kind, now, chance());
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The volumes of this node.
pub(super) struct Volumes {
    all: Mutex<HashMap<PathBuf, Arc<Volume>>>,
    /// Counts what may have to follow: volumes that have files, and new tokens for them.
    wanted: watch::Sender<u64>,
    /// Counts the volumes that got files.
    loaded: watch::Sender<u64>,
}

impl Default for Volumes {
    fn default() -> Self {
        Self {
            all: Mutex::default(),
            wanted: watch::Sender::new(0),
            loaded: watch::Sender::new(0),
        }
    }
}

impl Volumes {
    /// The volume of a publication, which is new or brings a token.
    pub(super) fn enter(&self, publication: Publication) -> Arc<Volume> {
        let mut all = self.all();
        if let Some(volume) = all.get(&publication.target) {
            volume.renew(publication.token);
            return volume.clone();
        }
        let volume = Arc::new(Volume::new(publication));
        all.insert(volume.target.clone(), volume.clone());
        volume
    }

    /// A volume has files already, whoever wrote them. `made`: what they are made of, where that was written down.
    pub(super) fn found_written(&self, volume: &Volume, made: Option<Made>, now: Instant) {
        let known = volume.state().progress.made().is_some();
        if let Some(made) = made.filter(|_| !known) {
            return self.made(volume, made, now);
        }
        volume.state().written = true;
        self.wanted.send_modify(|count| *count += 1);
    }

    /// The volume at a place.
    pub(super) fn at(&self, target: &Path) -> Option<Arc<Volume>> {
        self.all().get(target).cloned()
    }

    /// Forgets a volume. Whoever has a later one at the same place keeps it.
    pub(super) fn forget(&self, volume: &Arc<Volume>) {
        let mut all = self.all();
        if all
            .get(&volume.target)
            .is_some_and(|found| Arc::ptr_eq(found, volume))
        {
            all.remove(&volume.target);
        }
        drop(all);
        self.loaded.send_modify(|count| *count += 1);
    }

    /// A volume got files that are made of this.
    pub(super) fn made(&self, volume: &Volume, made: Made, now: Instant) {
        self.loaded.send_modify(|count| {
            *count += 1;
            let mut state = volume.state();
            state.progress.done(made, now, chance());
            // Those that stay as they were are never the newest.
            let number = if volume.request.follows() { *count } else { 0 };
            (state.written, state.problem, state.number) = (true, None, number);
        });
        self.wanted.send_modify(|count| *count += 1);
    }

    /// All of them.
    pub(super) fn list(&self) -> Vec<Arc<Volume>> {
        self.all().values().cloned().collect()
    }

    /// How many there are.
    pub(super) fn count(&self) -> usize {
        self.all().len()
    }

    /// How many of them have files that are behind what the server has.
    pub(super) fn behind(&self) -> usize {
        let all = self.all();
        all.values().filter(|volume| volume.is_behind()).count()
    }

    /// The secrets whose changes matter here.
    pub(super) fn secrets(&self) -> BTreeSet<SecretName> {
        let all = self.all();
        all.values()
            .filter(|volume| volume.request.follows())
            .flat_map(|volume| volume.secrets.iter().cloned())
            .collect()
    }

    /// Tells of volumes that have files, and of new tokens for them.
    pub(super) fn watch_wanted(&self) -> watch::Receiver<u64> {
        self.wanted.subscribe()
    }

    /// Tells of new files.
    pub(super) fn watch_loaded(&self) -> watch::Receiver<u64> {
        self.loaded.subscribe()
    }

    /// What each pod has, by its UID.
    pub(super) fn pods(&self) -> BTreeMap<String, LoadedPod> {
        let mut volumes: Vec<_> = self
            .list()
            .into_iter()
            .filter_map(|volume| {
                let state = volume.state();
                let (made, number) = (state.progress.made().cloned()?, state.number);
                drop(state);
                Some((number, volume, made))
            })
            .collect();
        // Of two volumes with one secret the one that is behind counts: the pod has the newer version when both have it.
        volumes.sort_by_key(|(number, ..)| std::cmp::Reverse(*number));
        let mut pods = BTreeMap::new();
        // What is only pending is nobody's yet.
        for stage in [VolumeStage::Previous, VolumeStage::Current] {
            for (_, volume, made) in &volumes {
                add(&mut pods, volume, made, stage);
            }
        }
        pods
    }

    fn all(&self) -> MutexGuard<'_, HashMap<PathBuf, Arc<Volume>>> {
        self.all.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Adds the versions of one stage that a volume has to what its pod has.
fn add(pods: &mut BTreeMap<String, LoadedPod>, volume: &Volume, made: &Made, stage: VolumeStage) {
    let sources = volume.request.sources().iter().zip(made);
    for (source, origin) in sources.filter(|(source, _)| source.stage == stage) {
        let Some(origin) = origin else { continue };
        let pod = pods
            .entry(volume.pod.uid.clone())
            .or_insert_with(|| LoadedPod {
                namespace: volume.pod.namespace.clone(),
                name: volume.pod.name.clone(),
                uid: volume.pod.uid.clone(),
                secrets: BTreeMap::new(),
            });
        let version = origin.version.clone();
        pod.secrets.insert(source.secret.clone(), version);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::node::api::Kind;
    use crate::node::testing::{publication, request};
    use crate::node::told::Origin;

    fn origin(version: &str) -> Origin {
        Origin {
            revision: format!("revision of {version}"),
            version: version.to_owned(),
        }
    }

    fn enter(volumes: &Volumes, place: &str, attributes: &[(&str, &str)]) -> Arc<Volume> {
        let mut publication = publication("web-0", place);
        publication.request = request(attributes);
        volumes.enter(publication)
    }

    #[test]
    fn publishing_again_is_the_same_volume_with_another_token() {
        let volumes = Volumes::default();
        let first = volumes.enter(publication("web-0", "/a"));
        first.used_up(&first.token());
        let mut again = publication("web-0", "/a");
        again.token = Token::new("newer");
        let again = volumes.enter(again);
        assert!(Arc::ptr_eq(&first, &again));
        assert!(!first.token().differs(&Token::new("newer")));
        assert!(!first.state().token_used_up);
        assert_eq!(volumes.count(), 1);
    }

    #[test]
    fn a_token_that_is_used_up_is_not_tried_until_kubelet_brings_another() {
        let volumes = Volumes::default();
        let volume = volumes.enter(publication("web-0", "/a"));
        let (told, now) = (Told::default(), Instant::now());
        volumes.found_written(&volume, None, now);
        assert!(volume.due(&told, now).is_some());
        volume.used_up(&volume.token());
        assert_eq!(volume.due(&told, now), None);
        volume.failed(Some(Kind::BadToken), now);
        assert_eq!(volumes.behind(), 1);
        // The same one again is no other.
        volumes.enter(publication("web-0", "/a"));
        assert_eq!(volume.due(&told, now), None);
        volume.renew(Token::new("newer"));
        assert!(volume.due(&told, now).is_some());
    }

    #[test]
    fn files_that_are_not_there_yet_are_nobodys_update() {
        let volumes = Volumes::default();
        let volume = volumes.enter(publication("web-0", "/a"));
        assert_eq!(volume.due(&Told::default(), Instant::now()), None);
        volume.failed(Some(Kind::Away), Instant::now());
    }

    #[test]
    fn a_pod_has_the_older_version_until_all_its_volumes_have_the_newer() {
        let volumes = Volumes::default();
        let now = Instant::now();
        let (a, b) = (
            enter(&volumes, "/a", &[("secret", "db")]),
            enter(&volumes, "/b", &[("secret", "db")]),
        );
        volumes.made(&a, vec![Some(origin("1"))], now);
        volumes.made(&b, vec![Some(origin("1"))], now);
        volumes.made(&a, vec![Some(origin("2"))], now);
        let has = || volumes.pods()["uid of web-0"].secrets["db"].clone();
        assert_eq!(has(), "1");
        volumes.made(&b, vec![Some(origin("2"))], now);
        assert_eq!(has(), "2");
    }

    #[test]
    fn a_volume_that_stays_as_it_was_is_never_due_and_its_version_is_the_pods_also_for_a_successor()
    {
        let fixed = [("secret", "db"), ("follow", "false")];
        let now = Instant::now();
        let has = |volumes: &Volumes| volumes.pods()["uid of web-0"].secrets["db"].clone();
        let volumes = Volumes::default();
        let a = enter(&volumes, "/a", &[("secret", "db")]);
        let b = enter(&volumes, "/b", &fixed);
        volumes.made(&a, vec![Some(origin("1"))], now);
        volumes.made(&b, vec![Some(origin("1"))], now);
        volumes.made(&a, vec![Some(origin("2"))], now);
        assert_eq!(has(&volumes), "1", "a variable has the value of the start");
        assert_eq!(b.due(&Told::default(), now), None);
        volumes.forget(&a);
        assert!(volumes.secrets().is_empty(), "nobody is asked about it");

        let successor = Volumes::default();
        let a = enter(&successor, "/a", &[("secret", "db")]);
        let b = enter(&successor, "/b", &fixed);
        successor.made(&a, vec![Some(origin("2"))], now);
        successor.found_written(&b, Some(vec![Some(origin("1"))]), now);
        assert_eq!(has(&successor), "1");
    }

    #[test]
    fn the_previous_version_counts_only_where_there_is_no_current_one() {
        let volumes = Volumes::default();
        let now = Instant::now();
        let previous = [("secret", "db"), ("stage", "Previous")];
        let a = enter(&volumes, "/a", &[("secret", "db")]);
        let b = enter(&volumes, "/b", &previous);
        volumes.made(&a, vec![Some(origin("2"))], now);
        volumes.made(&b, vec![Some(origin("1"))], now);
        assert_eq!(volumes.pods()["uid of web-0"].secrets["db"], "2");
        volumes.forget(&a);
        assert_eq!(volumes.pods()["uid of web-0"].secrets["db"], "1");
        volumes.forget(&b);
        assert_eq!((volumes.pods().len(), volumes.secrets().len()), (0, 0));
    }

    #[test]
    fn a_later_volume_at_the_same_place_is_not_forgotten() {
        let volumes = Volumes::default();
        let old = volumes.enter(publication("web-0", "/a"));
        volumes.forget(&old);
        let new = volumes.enter(publication("web-1", "/a"));
        volumes.forget(&old);
        assert!(Arc::ptr_eq(&volumes.at(Path::new("/a")).unwrap(), &new));
    }
}
