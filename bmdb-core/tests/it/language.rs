//! Languages of servers: stories about errors are run in two, because only the text of a message differs.

use crate::scenario::Scenario;
use bmdb_testkit::TestDb;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Language {
    English,
    German,
}

impl Language {
    #[allow(clippy::print_stderr, reason = "what is left out must be seen")]
    pub(crate) async fn scenario(self) -> Scenario {
        let db = TestDb::new().await.unwrap();
        // Few systems know German. The story holds in English too.
        if self == Self::German
            && let Err(error) = db.speak_german().await
        {
            eprintln!("\n==== NOT TESTED in German: {error} ====\n");
        }
        Scenario::on(db).await
    }
}

/// A test for each language of these stories, which are functions of a scenario.
macro_rules! in_both_languages {
    ($($story:ident),* $(,)?) => {
        mod in_english {
            $(
                #[tokio::test(flavor = "multi_thread")]
                async fn $story() {
                    super::$story($crate::language::Language::English.scenario().await).await;
                }
            )*
        }

        mod in_german {
            $(
                #[tokio::test(flavor = "multi_thread")]
                async fn $story() {
                    super::$story($crate::language::Language::German.scenario().await).await;
                }
            )*
        }
    };
}

pub(crate) use in_both_languages;
