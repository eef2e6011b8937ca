//! `verbs!`: an enum of sub-commands that runs the one that was given.

/// Defines an enum of sub-commands. Each variant contains the arguments of one, which have a method `run`.
macro_rules! verbs {
    ($(#[$meta:meta])* $noun:ident { $($(#[$verb_meta:meta])* $verb:ident($args:ty),)* }) => {
        $(#[$meta])*
        #[derive(clap::Subcommand)]
        pub(crate) enum $noun {
            $($(#[$verb_meta])* $verb($args),)*
        }

        impl $noun {
            pub(crate) async fn run(
                self,
                context: &$crate::context::Context,
            ) -> Result<(), $crate::failure::Failure> {
                match self {
                    $(Self::$verb(args) => args.run(context).await,)*
                }
            }
        }
    };
}

pub(crate) use verbs;
