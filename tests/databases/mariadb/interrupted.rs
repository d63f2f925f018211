//! Changes that are cut off at any point, and begun anew.

use super::support::Bed;
use crate::lost_answers;

#[tokio::test]
async fn a_change_that_loses_any_answer_is_completed_by_the_next_attempt() {
    lost_answers::every_answer_is_lost_once(&Bed::new().await).await;
}

#[tokio::test]
async fn a_second_user_that_was_left_half_made_for_a_version_that_is_gone_is_named() {
    lost_answers::a_version_goes_while_its_user_is_made(&Bed::new().await).await;
}
