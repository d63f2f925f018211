//! What a secret delivers: its value, or what its template makes of it. The same for a native Secret and for files in a pod.

use std::collections::BTreeMap;

use super::template::{Template, TemplateError};
use super::value::{SecretValue, ValueError};
use crate::crypto::SecretBytes;

/// Why nothing can be delivered. It holds names and places, never a value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DeliveredError {
    /// A template cannot be compiled or rendered.
    #[error("spec.template.data: {0}")]
    Template(TemplateError),
    /// What the templates make is larger than a value may be.
    #[error("spec.template.data: {0}")]
    TemplateValue(ValueError),
    /// The value is larger than a value may be.
    #[error(transparent)]
    Value(ValueError),
}

/// What a consumer shall get: what `spec.template.data` makes of the value, or the value if that is empty.
///
/// # Errors
/// A template fails, or makes too much.
pub fn delivered(
    template: &BTreeMap<String, String>,
    value: &SecretValue,
) -> Result<SecretValue, DeliveredError> {
    let mut content = SecretValue::new();
    if template.is_empty() {
        for (key, bytes) in value.iter() {
            let inserted = content.insert(key.to_owned(), SecretBytes::copy_of(bytes));
            inserted.map_err(DeliveredError::Value)?;
        }
    }
    for (key, source) in template {
        let compiled = Template::compile(key, source).map_err(DeliveredError::Template)?;
        let rendered = compiled.render(value).map_err(DeliveredError::Template)?;
        let inserted = content.insert(key.clone(), rendered);
        inserted.map_err(DeliveredError::TemplateValue)?;
    }
    Ok(content)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value() -> SecretValue {
        let entries = [("password", "C4N4RY"), ("user", "ann")];
        let entries =
            entries.map(|(key, text)| (key.to_owned(), SecretBytes::copy_of(text.as_bytes())));
        SecretValue::from_entries(entries).unwrap()
    }

    fn template(source: &str) -> BTreeMap<String, String> {
        BTreeMap::from([("url".to_owned(), source.to_owned())])
    }

    #[test]
    fn without_a_template_the_value_is_delivered_and_with_one_what_it_makes_of_it() {
        let plain = delivered(&BTreeMap::new(), &value()).unwrap();
        assert_eq!(plain.keys().collect::<Vec<_>>(), ["password", "user"]);
        assert_eq!(plain.get("password"), Some(&b"C4N4RY"[..]));
        let rendered = delivered(&template("[[ user ]]:[[ password ]]"), &value()).unwrap();
        assert_eq!(rendered.keys().collect::<Vec<_>>(), ["url"]);
        assert_eq!(rendered.get("url"), Some(&b"ann:C4N4RY"[..]));
    }

    #[test]
    fn a_template_that_fails_is_named_and_the_value_is_not_quoted() {
        let error = delivered(&template("[[ password ]][[ missing ]]"), &value()).unwrap_err();
        let told = error.to_string();
        assert!(
            told.starts_with("spec.template.data: template `url`, line 1"),
            "{told}"
        );
        assert!(!told.contains("C4N4RY"));
    }
}
