//! The names that AWS has for the stages of a version.

use crate::secrets::Stage;

/// Prefix of the names of AWS's own stages.
const PREFIX: &str = "AWS";

/// The stage of that name in AWS; `None` if it is no name of a stage. A label of the user's own is called the same.
pub(super) fn named(name: &str) -> Option<Stage> {
    match name {
        "AWSCURRENT" => Some(Stage::Current),
        "AWSPENDING" => Some(Stage::Pending),
        "AWSPREVIOUS" => Some(Stage::Previous),
        name if name.starts_with(PREFIX) => None,
        name => match name.parse().ok()? {
            label @ Stage::Label(_) => Some(label),
            Stage::Current | Stage::Pending | Stage::Previous => None,
        },
    }
}

/// What a stage is called in AWS.
pub(super) fn name(stage: &Stage) -> String {
    match stage {
        Stage::Current => "AWSCURRENT".to_owned(),
        Stage::Pending => "AWSPENDING".to_owned(),
        Stage::Previous => "AWSPREVIOUS".to_owned(),
        Stage::Label(label) => label.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stage_is_called_as_in_aws_and_found_by_that_name() {
        for stage in ["Current", "Pending", "Previous", "blue"] {
            let stage: Stage = stage.parse().unwrap();
            assert_eq!(named(&name(&stage)), Some(stage));
        }
        assert_eq!(named("AWSCURRENT"), Some(Stage::Current));
        for other in ["Current", "AWSNEXT", "", "a b"] {
            assert_eq!(named(other), None, "{other}");
        }
    }
}
