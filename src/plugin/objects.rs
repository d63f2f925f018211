//! What can be done with every kind alike: listing, looking at one, and changing one as it was seen.

use std::io::Write;

use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::jiff::Timestamp;
use kube::api::{
    ApiResource, DeleteParams, DynamicObject, ListParams, ObjectMeta, Patch, PatchParams,
    PostParams, Preconditions,
};
use kube::{Api, Resource, ResourceExt};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::connection::Cluster;
use super::exit::{Exit, Failure};
use super::output::{Fields, Format, Output, Table, list_json, name_of, plain_json, print_value};
use crate::calling::answered;

/// How many objects are asked for at a time.
const PAGE: u32 = 500;
/// How often a change is sent again when only the status was written meanwhile.
const TRIES: usize = 5;
/// Who wrote a field, for the API server's bookkeeping.
const MANAGER: &str = "kubectl-keystead";

/// A kind of Keystead's, and how people see it.
pub(crate) trait Kind:
    Resource<DynamicType = (), Scope = NamespaceResourceScope>
    + Clone
    + std::fmt::Debug
    + DeserializeOwned
    + Serialize
{
    /// The headings of its table, without namespace and name.
    const COLUMNS: &'static [&'static str];

    /// The cells of its line.
    fn cells(&self, now: Timestamp) -> Vec<String>;

    /// What `describe` says of it.
    fn describe(&self, fields: &mut Fields);
}

/// List them.
#[derive(Debug, clap::Args)]
pub(crate) struct List {
    /// Those of all namespaces.
    #[arg(short = 'A', long)]
    all_namespaces: bool,
    /// Only those with these labels.
    #[arg(short = 'l', long, value_name = "SELECTOR")]
    selector: Option<String>,
    #[command(flatten)]
    output: Output,
}

/// Say all that is known of one.
#[derive(Debug, clap::Args)]
pub(crate) struct Describe {
    /// Its name.
    name: String,
    #[command(flatten)]
    output: Output,
}

/// Whether a change is made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum DryRun {
    /// It is made.
    #[default]
    None,
    /// It is not sent: what would be sent is printed.
    Client,
    /// The API server checks it, and forgets it.
    Server,
}

/// How a change is made, and what is printed then.
#[derive(Clone, Copy, Debug, Default, clap::Args)]
pub(crate) struct Writing {
    /// Whether the change is made.
    #[arg(long, value_enum, default_value_t)]
    pub(crate) dry_run: DryRun,
    #[command(flatten)]
    pub(crate) output: Output,
}

/// The objects of a kind in the command's namespace.
pub(crate) fn api<K: Kind>(cluster: &Cluster) -> Api<K> {
    Api::namespaced(cluster.client.clone(), &cluster.namespace)
}

/// The words for a call about one object.
pub(crate) fn about<K: Kind>(verb: &str, cluster: &Cluster, name: &str) -> String {
    format!("{verb} {} {}/{name}", K::kind(&()), cluster.namespace)
}

/// The object of that name.
pub(crate) async fn get<K: Kind>(cluster: &Cluster, name: &str) -> Result<K, Failure> {
    let found = answered(api::<K>(cluster).get(name)).await;
    found.map_err(|error| Failure::of_call(&about::<K>("get", cluster, name), &error))
}

/// All objects of a kind, page by page.
pub(crate) async fn all<K>(api: &Api<K>, selector: Option<&str>) -> kube::Result<Vec<K>>
where
    K: Clone + std::fmt::Debug + DeserializeOwned,
{
    let mut params = ListParams::default().limit(PAGE);
    if let Some(selector) = selector {
        params = params.labels(selector);
    }
    let mut objects = Vec::new();
    loop {
        let page = answered(api.list(&params)).await?;
        objects.extend(page.items);
        match page.metadata.continue_ {
            Some(token) if !token.is_empty() => params = params.continue_token(&token),
            _ => return Ok(objects),
        }
    }
}

/// Lists a kind.
pub(crate) async fn list<K: Kind>(
    cluster: &Cluster,
    args: &List,
    out: &mut impl Write,
) -> Result<Exit, Failure> {
    let api = if args.all_namespaces {
        Api::all(cluster.client.clone())
    } else {
        api::<K>(cluster)
    };
    let found = all(&api, args.selector.as_deref()).await;
    let what = format!("list {}", K::plural(&()));
    let objects = found.map_err(|error| Failure::of_call(&what, &error))?;
    match args.output.format {
        Format::Table if objects.is_empty() => {
            let place = if args.all_namespaces {
                "this cluster"
            } else {
                &cluster.namespace
            };
            eprintln!("no {} in {place}", K::plural(&()));
        }
        Format::Table => table(&objects, args.all_namespaces, Timestamp::now()).print(out)?,
        Format::Name => {
            for object in &objects {
                writeln!(out, "{}", name_of(object))?;
            }
        }
        format => print_value(out, &list_json(&objects)?, format)?,
    }
    Ok(Exit::Ok)
}

fn table<K: Kind>(objects: &[K], namespaces: bool, now: Timestamp) -> Table {
    let first: &[&str] = if namespaces {
        &["NAMESPACE", "NAME"]
    } else {
        &["NAME"]
    };
    let mut table = Table::new(&[first, K::COLUMNS].concat());
    for object in objects {
        let mut row = Vec::new();
        if namespaces {
            row.push(object.namespace().unwrap_or_default());
        }
        row.push(object.name_any());
        row.extend(object.cells(now));
        table.push(row);
    }
    table
}

/// Says all that is known of one object.
pub(crate) async fn describe<K: Kind>(
    cluster: &Cluster,
    args: &Describe,
    out: &mut impl Write,
) -> Result<Exit, Failure> {
    let object: K = get(cluster, &args.name).await?;
    match args.output.format {
        Format::Table => {
            let mut fields = Fields::new();
            fields.add("Name", object.name_any());
            fields.add("Namespace", object.namespace().unwrap_or_default());
            object.describe(&mut fields);
            fields.print(out)?;
        }
        format => print_one(&object, format, out)?,
    }
    Ok(Exit::Ok)
}

/// Prints one object for a program.
fn print_one<K: Kind>(object: &K, format: Format, out: &mut impl Write) -> Result<(), Failure> {
    match format {
        Format::Table | Format::Name => Ok(writeln!(out, "{}", name_of(object))?),
        format => print_value(out, &plain_json(object)?, format),
    }
}

/// Changes an object by a merge patch that holds only for the state that was seen: what somebody changed meanwhile is not
/// overwritten. Fields that the cluster's definitions do not have are refused, never dropped. `done`: what to say.
pub(crate) async fn change<K: Kind>(
    cluster: &Cluster,
    seen: &K,
    mut patch: Value,
    done: &str,
    writing: Writing,
    out: &mut impl Write,
) -> Result<Exit, Failure> {
    let name = seen.name_any();
    patch["metadata"]["resourceVersion"] = json!(seen.resource_version());
    if writing.dry_run == DryRun::Client {
        return print_unsent(&patch, out);
    }
    let mut params = PatchParams {
        field_manager: Some(MANAGER.to_owned()),
        dry_run: writing.dry_run == DryRun::Server,
        ..PatchParams::default()
    };
    params = params.validation_strict();
    let what = about::<K>("change", cluster, &name);
    let mut tries = TRIES;
    let object = loop {
        let patched =
            answered(api::<K>(cluster).patch(&name, &params, &Patch::Merge(&patch))).await;
        match patched {
            Ok(object) => break object,
            // The operator writes statuses all the time: that is no change of what was seen.
            Err(error) if tries > 0 && is_conflict(&error) => {
                let now: K = get(cluster, &name).await?;
                if !is_as_seen(seen, &now) {
                    return Err(Failure::of_call(&what, &error));
                }
                patch["metadata"]["resourceVersion"] = json!(now.resource_version());
                tries -= 1;
            }
            Err(error) => return Err(Failure::of_call(&what, &error)),
        }
    };
    tell(&object, done, writing, out)
}

fn is_conflict(error: &kube::Error) -> bool {
    matches!(error, kube::Error::Api(status) if status.is_conflict())
}

/// Whether nothing but the status is another than it was.
fn is_as_seen<K: Kind>(seen: &K, now: &K) -> bool {
    let same = |of: fn(&ObjectMeta) -> Option<String>| of(seen.meta()) == of(now.meta());
    same(|meta| meta.uid.clone())
        && same(|meta| {
            meta.deletion_timestamp
                .as_ref()
                .map(|time| time.0.to_string())
        })
        && seen.meta().generation == now.meta().generation
        && seen.meta().annotations == now.meta().annotations
}

/// Makes an object.
pub(crate) async fn create<K: Kind>(
    cluster: &Cluster,
    object: &K,
    writing: Writing,
    out: &mut impl Write,
) -> Result<Exit, Failure> {
    if writing.dry_run == DryRun::Client {
        return print_unsent(&plain_json(object)?, out);
    }
    let params = PostParams {
        dry_run: writing.dry_run == DryRun::Server,
        field_manager: Some(MANAGER.to_owned()),
    };
    let made = answered(api::<K>(cluster).create(&params, object)).await;
    let what = about::<K>("create", cluster, &object.name_any());
    let made = made.map_err(|error| Failure::of_call(&what, &error))?;
    tell(&made, "created", writing, out)
}

/// Makes an object from its JSON. Fields that the cluster's definitions do not have are refused, never dropped.
pub(crate) async fn make<K: Kind>(
    cluster: &Cluster,
    object: &Value,
    name: &str,
    writing: Writing,
    out: &mut impl Write,
) -> Result<Exit, Failure> {
    if writing.dry_run == DryRun::Client {
        return print_unsent(object, out);
    }
    let mut params = PatchParams::apply(MANAGER).validation_strict();
    params.dry_run = writing.dry_run == DryRun::Server;
    let made = answered(api::<K>(cluster).patch(name, &params, &Patch::Apply(object))).await;
    let made: K =
        made.map_err(|error| Failure::of_call(&about::<K>("create", cluster, name), &error))?;
    tell(&made, "created", writing, out)
}

/// The object of that name, and whether it has a field (a JSON pointer), also one that this program does not know yet.
pub(crate) async fn with_field<K: Kind>(
    cluster: &Cluster,
    name: &str,
    field: &str,
) -> Result<(K, bool), Failure> {
    let resource = ApiResource::erase::<K>(&());
    let api: Api<DynamicObject> =
        Api::namespaced_with(cluster.client.clone(), &cluster.namespace, &resource);
    let found = answered(api.get(name)).await;
    let found =
        found.map_err(|error| Failure::of_call(&about::<K>("get", cluster, name), &error))?;
    let has = found.data.pointer(field).is_some();
    let unknown = |_| Failure::error("the object has a form that this version does not know");
    let object = serde_json::to_value(found).and_then(serde_json::from_value);
    Ok((object.map_err(unknown)?, has))
}

/// Deletes the object that was seen, and no other of its name.
pub(crate) async fn delete<K: Kind>(
    cluster: &Cluster,
    seen: &K,
    done: &str,
    writing: Writing,
    out: &mut impl Write,
) -> Result<Exit, Failure> {
    let name = seen.name_any();
    if writing.dry_run == DryRun::Client {
        return tell(seen, done, writing, out);
    }
    let params = DeleteParams {
        dry_run: writing.dry_run == DryRun::Server,
        preconditions: Some(Preconditions {
            uid: seen.uid(),
            resource_version: None,
        }),
        ..DeleteParams::default()
    };
    let deleted = answered(api::<K>(cluster).delete(&name, &params)).await;
    deleted.map_err(|error| Failure::of_call(&about::<K>("delete", cluster, &name), &error))?;
    tell(seen, done, writing, out)
}

/// Says what was done, or prints the object as it is now.
pub(crate) fn tell<K: Kind>(
    object: &K,
    done: &str,
    writing: Writing,
    out: &mut impl Write,
) -> Result<Exit, Failure> {
    let dry = match writing.dry_run {
        DryRun::None => "",
        DryRun::Client => " (dry run)",
        DryRun::Server => " (server dry run)",
    };
    match writing.output.format {
        Format::Table => writeln!(out, "{} {done}{dry}", name_of(object))?,
        format => print_one(object, format, out)?,
    }
    Ok(Exit::Ok)
}

fn print_unsent(sent: &Value, out: &mut impl Write) -> Result<Exit, Failure> {
    print_value(out, sent, Format::Yaml)?;
    Ok(Exit::Ok)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::{ManagedKey, ManagedKeySpec};

    #[test]
    fn a_status_is_no_change_of_what_was_seen_and_an_annotation_is() {
        let mut seen = ManagedKey::new("orders", ManagedKeySpec::default());
        seen.metadata.generation = Some(1);
        let mut now = seen.clone();
        now.metadata.resource_version = Some("2".to_owned());
        assert!(is_as_seen(&seen, &now));
        now.annotations_mut().insert("a".to_owned(), "b".to_owned());
        assert!(!is_as_seen(&seen, &now));
        now = seen.clone();
        now.metadata.generation = Some(2);
        assert!(!is_as_seen(&seen, &now));
    }

    #[test]
    fn the_namespace_is_a_column_only_where_there_are_several() {
        let mut key = ManagedKey::new("", ManagedKeySpec::default());
        key.metadata.name = Some("orders".to_owned());
        key.metadata.namespace = Some("shop".to_owned());
        for (namespaces, heading) in [(true, "NAMESPACE"), (false, "NAME ")] {
            let mut out = Vec::new();
            let table = table(
                std::slice::from_ref(&key),
                namespaces,
                Timestamp::UNIX_EPOCH,
            );
            table.print(&mut out).unwrap();
            let text = String::from_utf8(out).unwrap();
            assert!(text.starts_with(heading), "{text}");
            assert_eq!(text.contains("shop"), namespaces, "{text}");
        }
    }
}
