//! A bounded run of the checks that the fuzz targets run without a limit.

#[path = "../../fuzz/checks/cause.rs"]
mod cause;

use bmdb_model::column::Column;
use proptest::prelude::*;

proptest! {
    #[test]
    fn any_cause_is_recorded_whole_or_cut_or_refused(text in ".*") {
        cause::check(&text);
    }

    #[test]
    fn a_cause_near_the_length_limit_is_recorded_whole_or_cut(
        start in "[a-zé€😀]{0,8}", filler in "[aé€😀]", end in "[a-zé€😀\0]{0,12}",
    ) {
        let fillers = Column::CAUSE.maximum_bytes.saturating_sub(start.len() + 8) / filler.len();
        cause::check(&format!("{start}{}{end}", filler.repeat(fillers)));
    }
}
