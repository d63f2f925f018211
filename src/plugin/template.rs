//! `kubectl keystead template`: tries the template of a secret locally, with values that are at hand. No cluster is asked.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::path::PathBuf;

use serde::Deserialize;
use serde_json::{Value, json};

use super::exit::{Exit, Failure};
use super::manifest::{SecretManifest, Text, parse, read};
use super::output::{Format, Output, Table, print_value};
use super::secret::text;
use crate::api::ManagedSecret;
use crate::crypto::SecretBytes;
use crate::secrets::{SecretValue, Template};

/// Arguments of `template`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Render the template of a `ManagedSecret`. Values are masked unless --reveal is given.
    Render(Render),
}

#[derive(Debug, clap::Args)]
struct Render {
    /// The manifest of the `ManagedSecret`; `-` is standard input.
    #[arg(short, long, value_name = "FILE")]
    file: PathBuf,
    /// The values: a Secret manifest, or an object of texts, as YAML or JSON; `-` is standard input. The literals of the
    /// `ManagedSecret` need not be repeated.
    #[arg(long, value_name = "FILE")]
    values_from: Option<PathBuf>,
    /// Show what is rendered.
    #[arg(long)]
    reveal: bool,
    #[command(flatten)]
    output: Output,
}

pub(crate) fn run(args: Args) -> Result<Exit, Failure> {
    let Command::Render(args) = args.command;
    let stdin = |path: &PathBuf| path.as_os_str() == "-";
    if stdin(&args.file) && args.values_from.as_ref().is_some_and(stdin) {
        return Err(Failure::error(
            "only one of -f and --values-from can be standard input",
        ));
    }
    let secret: ManagedSecret = parse(&args.file, &read(&args.file)?, "ManagedSecret")?;
    let given = match &args.values_from {
        Some(path) => parse::<Given>(path, &read(path)?, "Secret, and no object of texts")?,
        None => Given::default(),
    };
    let value = value(&secret, given)?;
    let rendered = render(&secret, &value)?;
    print(&rendered, &args, &mut io::stdout().lock())
}

/// Values as they are given: a Secret, or simply keys with texts.
#[derive(Default, Deserialize)]
#[serde(untagged)]
enum Given {
    Secret(SecretManifest),
    Texts(BTreeMap<String, Text>),
    #[default]
    Nothing,
}

impl Given {
    /// The keys with their bytes.
    fn entries(self) -> Result<BTreeMap<String, SecretBytes>, Failure> {
        match self {
            Self::Secret(secret) => secret.entries(),
            Self::Texts(texts) => Ok(texts.into_iter().map(|(key, text)| (key, text.0)).collect()),
            Self::Nothing => Ok(BTreeMap::new()),
        }
    }
}

/// What the secret would hold: its literals, and what is given for the rest.
fn value(secret: &ManagedSecret, given: Given) -> Result<SecretValue, Failure> {
    let mut entries = given.entries()?;
    for (key, literal) in &secret.spec.literals {
        let literal = SecretBytes::copy_of(literal.as_bytes());
        entries.entry(key.clone()).or_insert(literal);
    }
    SecretValue::from_entries(entries).map_err(|error| Failure::error(error.to_string()))
}

fn render(secret: &ManagedSecret, value: &SecretValue) -> Result<SecretValue, Failure> {
    let template = secret.spec.template.as_ref();
    let Some(template) = template.filter(|template| !template.data.is_empty()) else {
        return Err(Failure::error(
            "the ManagedSecret has no spec.template.data: its keys are delivered as they are",
        ));
    };
    let failed =
        |error: &dyn std::error::Error| Failure::error(format!("spec.template.data: {error}"));
    let mut rendered = SecretValue::new();
    for (key, source) in &template.data {
        let compiled = Template::compile(key, source).map_err(|error| failed(&error))?;
        let bytes = compiled.render(value).map_err(|error| failed(&error))?;
        rendered
            .insert(key.clone(), bytes)
            .map_err(|error| failed(&error))?;
    }
    Ok(rendered)
}

/// What stands for a value that is not shown.
fn masked(bytes: &[u8]) -> String {
    format!("[{} bytes]", bytes.len())
}

fn print(rendered: &SecretValue, args: &Render, out: &mut impl Write) -> Result<Exit, Failure> {
    let shown = if args.reveal { text } else { masked };
    match args.output.format {
        Format::Table => {
            let mut table = Table::new(&["KEY", "VALUE"]);
            for (key, bytes) in rendered.iter() {
                table.push(vec![key.to_owned(), shown(bytes)]);
            }
            table.print(out)?;
        }
        Format::Name => {
            for key in rendered.keys() {
                writeln!(out, "{key}")?;
            }
        }
        format => {
            let entries = rendered.iter();
            let entries = entries.map(|(key, bytes)| (key.to_owned(), json!(shown(bytes))));
            print_value(out, &Value::Object(entries.collect()), format)?;
        }
    }
    Ok(Exit::Ok)
}

#[cfg(test)]
mod tests {
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;

    use super::*;

    const CANARY: &str = "C4N4RY-template";

    fn secret(template: &str) -> ManagedSecret {
        let spec = json!({"literals": {"host": "db"}, "template": {"data": {"URL": template}}});
        ManagedSecret::new("db", serde_json::from_value(spec).unwrap())
    }

    fn given(yaml: &str) -> Given {
        serde_saphyr::from_str(yaml).unwrap()
    }

    #[test]
    fn values_come_from_a_secret_or_from_texts_and_literals_fill_the_rest() {
        let secret = secret("[[ user ]]:[[ password ]]@[[ host ]]");
        let data = format!(
            "{{kind: Secret, data: {{password: {}}}, stringData: {{user: u}}}}",
            STANDARD.encode(CANARY)
        );
        for yaml in [data, format!("{{user: u, password: {CANARY}}}")] {
            let value = value(&secret, given(&yaml)).unwrap();
            let rendered = render(&secret, &value).unwrap();
            let url = format!("u:{CANARY}@db");
            assert_eq!(rendered.get("URL"), Some(url.as_bytes()), "{yaml}");
        }
    }

    #[test]
    fn an_error_names_key_and_line_and_never_a_value() {
        let yaml = format!("{{password: {CANARY}}}");
        for template in [
            "[[ password ]]\n[[ nothing ]]",
            "\n[[ password | nofilter ]]",
        ] {
            let secret = secret(template);
            let value = value(&secret, given(&yaml)).unwrap();
            let failure = render(&secret, &value).unwrap_err();
            assert!(failure.message.contains("`URL`, line 2"), "{failure}");
            assert!(!failure.message.contains(CANARY), "{failure}");
        }
        let bad = given(&format!("{{kind: Secret, data: {{password: {CANARY}!}}}}"));
        let failure = value(&secret("x"), bad).unwrap_err();
        assert!(failure.message.contains("data.password"), "{failure}");
        assert!(!failure.message.contains(CANARY), "{failure}");
        let path = PathBuf::from("values.yaml");
        let text = SecretBytes::from(format!("{{password: [{CANARY}]}}").into_bytes());
        let failure = parse::<Given>(&path, &text, "Secret").err().unwrap();
        assert!(!failure.message.contains(CANARY), "{failure}");
    }

    #[test]
    fn what_is_rendered_is_masked_unless_it_is_asked_for() {
        let mut args = Render {
            file: PathBuf::from("-"),
            values_from: None,
            reveal: false,
            output: Output::default(),
        };
        let bytes = SecretBytes::from(CANARY.as_bytes().to_vec());
        let rendered = SecretValue::from_entries([("URL".to_owned(), bytes)]).unwrap();
        for format in [Format::Table, Format::Json, Format::Yaml, Format::Name] {
            args.output.format = format;
            for reveal in [false, true] {
                args.reveal = reveal;
                let mut out = Vec::new();
                print(&rendered, &args, &mut out).unwrap();
                let out = String::from_utf8(out).unwrap();
                let shows = reveal && format != Format::Name;
                assert_eq!(out.contains(CANARY), shows, "{format:?}: {out}");
            }
        }
    }
}
