//! The store of the installation's record.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::ConfigMap;
use k8s_openapi::jiff::Timestamp;
use kube::api::{ObjectMeta, PostParams};
use kube::{Api, Client};

use super::record::{Malformed, Record};
use crate::api::names::{FIELD_MANAGER, INSTALLATION, LABEL_MANAGED_BY, MANAGED_BY};
use crate::calling::answered;
use crate::clock::{Clock, Clocks};

/// How often a change is tried again that met another writer.
const CONFLICTS: usize = 5;

/// Why the record was not read or written.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    /// The API server refused, or could not be reached.
    #[error(
        "{operation} the installation record: {}",
        crate::telling::describe(reason)
    )]
    Api {
        /// The verb.
        operation: &'static str,
        /// Why it failed.
        reason: kube::Error,
    },
    /// It is not there.
    #[error(
        "ConfigMap {INSTALLATION} is missing: the operator has not made it yet, or it was deleted"
    )]
    Missing,
    /// It was not written by the operator.
    #[error(transparent)]
    Malformed(#[from] Malformed),
}

/// What became of a change of the record, and what the record says now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Changed {
    /// It was written.
    Written(Record),
    /// There was nothing to write, or no longer: the record is as somebody else left it.
    AsItWas(Record),
}

/// The store of the record, in the operator's namespace.
#[derive(Clone)]
pub struct Records {
    api: Api<ConfigMap>,
}

impl Records {
    /// The store in that namespace.
    pub fn new(client: Client, namespace: &str) -> Self {
        Self {
            api: Api::namespaced(client, namespace),
        }
    }

    /// The record as stored, if there is one.
    ///
    /// # Errors
    /// Those of the API server.
    pub async fn find(&self) -> Result<Option<ConfigMap>, RecordError> {
        let found = answered(self.api.get_opt(INSTALLATION)).await;
        found.map_err(|reason| RecordError::Api {
            operation: "get",
            reason,
        })
    }

    /// What the record says.
    ///
    /// # Errors
    /// If it is not there or malformed, and those of the API server.
    pub async fn get(&self) -> Result<Record, RecordError> {
        let map = self.find().await?.ok_or(RecordError::Missing)?;
        Ok(Record::read(&map)?)
    }

    /// That clock and the API server's, read at once.
    ///
    /// # Errors
    /// Those of the API server.
    pub async fn clocks(&self, clock: &dyn Clock) -> Result<Clocks, RecordError> {
        let server = self.server_time().await?;
        Ok(Clocks {
            own: clock.now(),
            server: clock.server_time(server),
        })
    }

    /// The API server's clock, in whole seconds: the creation time of an object that is not made.
    ///
    /// # Errors
    /// Those of the API server.
    pub async fn server_time(&self) -> Result<Timestamp, RecordError> {
        let mut map = ConfigMap::default();
        map.metadata.name = Some("keystead-server-time".to_owned());
        let dry_run = PostParams {
            dry_run: true,
            ..params()
        };
        let made = answered(self.api.create(&dry_run, &map)).await;
        let made = made.map_err(|reason| RecordError::Api {
            operation: "ask the time by a dry run of",
            reason,
        })?;
        // Without one nobody can say how late it is; nothing is due then.
        Ok(made
            .metadata
            .creation_timestamp
            .map_or(Timestamp::MIN, |time| time.0))
    }

    /// Writes the record of a new installation, unless another replica was faster; returns the one that counts.
    ///
    /// # Errors
    /// Those of the API server.
    pub async fn create(&self, record: &Record) -> Result<ConfigMap, RecordError> {
        let mut data = BTreeMap::new();
        record.write(&mut data);
        let map = ConfigMap {
            metadata: ObjectMeta {
                name: Some(INSTALLATION.to_owned()),
                labels: Some([(LABEL_MANAGED_BY.to_owned(), MANAGED_BY.to_owned())].into()),
                ..ObjectMeta::default()
            },
            data: Some(data),
            ..ConfigMap::default()
        };
        match answered(self.api.create(&params(), &map)).await {
            Ok(made) => Ok(made),
            Err(kube::Error::Api(status)) if status.is_already_exists() => {
                self.find().await?.ok_or(RecordError::Missing)
            }
            Err(reason) => Err(RecordError::Api {
                operation: "create",
                reason,
            }),
        }
    }

    /// Changes the record: `change` is given what it says now, and says whether it changed anything. Against another writer
    /// it is asked again.
    ///
    /// # Errors
    /// If it is not there or malformed, and those of the API server.
    pub async fn change<E>(
        &self,
        mut change: impl FnMut(&mut Record) -> Result<bool, E>,
    ) -> Result<Result<Changed, E>, RecordError> {
        for attempt in 0.. {
            let mut map = self.find().await?.ok_or(RecordError::Missing)?;
            let mut record = Record::read(&map)?;
            match change(&mut record) {
                Ok(true) => {}
                Ok(false) => return Ok(Ok(Changed::AsItWas(record))),
                Err(refused) => return Ok(Err(refused)),
            }
            record.write(map.data.get_or_insert_default());
            let written = answered(self.api.replace(INSTALLATION, &params(), &map)).await;
            match written {
                Ok(_) => return Ok(Ok(Changed::Written(record))),
                Err(kube::Error::Api(status)) if status.is_conflict() && attempt < CONFLICTS => {}
                Err(reason) => {
                    let operation = "replace";
                    return Err(RecordError::Api { operation, reason });
                }
            }
        }
        unreachable!("the last attempt returns")
    }
}

fn params() -> PostParams {
    PostParams {
        field_manager: Some(FIELD_MANAGER.to_owned()),
        ..PostParams::default()
    }
}
