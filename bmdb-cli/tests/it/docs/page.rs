//! Parser of a document: which blocks are run, how, and what they should print.

use std::fmt;

/// The words with which a document skips a block, and the reasons. Another word is a mistake.
const SKIPS: &[(&str, &str)] = &[
    ("ci", "`cargo xtask ci` runs it or an equivalent"),
    ("database", "the test has its own database"),
    (
        "install",
        "it would change this computer; the programs that it installs are under test already",
    ),
];

/// The commands of one fenced block or one comment of a document.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Block {
    /// The line of the document with the first command.
    pub(super) line: usize,
    pub(super) commands: String,
    pub(super) how: How,
    /// The expected output: the `console` block that follows.
    pub(super) prints: Option<String>,
    /// A program that must be installed and be at least as new as the server.
    pub(super) needs: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum How {
    /// Until it exits with this code.
    Exit(i32),
    /// Until it has printed the expected output; then it is interrupted as by Ctrl-C.
    Watch,
    /// Until it has printed the expected output; it keeps running until the end of the document.
    Background,
    /// Not run, for this reason.
    Skip(&'static str),
}

/// A mistake in the document itself.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Mistake {
    line: usize,
    what: String,
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: {}", self.line, self.what)
    }
}

/// The blocks of a document in their order.
///
/// `sh` fences contain commands; a `console` fence behind one contains its output. A comment `<!-- sh … -->`
/// contains commands that readers need not see, such as the preparation of an example.
pub(super) fn parse(text: &str) -> Result<Vec<Block>, Mistake> {
    let mut blocks: Vec<Block> = Vec::new();
    let mut lines = text.lines().enumerate();
    let mut after_block = false;
    while let Some((at, line)) = lines.next() {
        let number = at + 1;
        let mistake = |what: String| Mistake { line: number, what };
        let trimmed = line.trim_start();
        let (info, end) = if let Some(info) = trimmed.strip_prefix("```") {
            (info.trim(), "```")
        } else if let Some(info) = trimmed.strip_prefix("<!-- sh") {
            if info.contains("-->") {
                return Err(mistake(
                    "put the commands of the comment on separate lines".into(),
                ));
            }
            (trimmed.trim_start_matches("<!--").trim(), "-->")
        } else {
            after_block &= trimmed.is_empty();
            continue;
        };
        let indent = line.len() - trimmed.len();
        let mut inside = String::new();
        loop {
            let Some((_, line)) = lines.next() else {
                return Err(mistake(format!(
                    "{end} is missing at the end of this block"
                )));
            };
            if line.trim() == end {
                break;
            }
            inside.push_str(line.get(indent..).unwrap_or(""));
            inside.push('\n');
        }
        let mut words = info.split_whitespace();
        match words.next() {
            Some("sh") => {
                blocks.push(block(number + 1, inside, words).map_err(mistake)?);
                after_block = true;
            }
            Some("console") => match blocks.last_mut() {
                Some(block) if after_block && block.prints.is_none() => {
                    block.prints = Some(inside);
                }
                _ => {
                    return Err(mistake(
                        "there are no commands right before this output".into(),
                    ));
                }
            },
            Some("bash" | "shell" | "zsh") => {
                return Err(mistake("call it `sh`, so that the test runs it".into()));
            }
            _ => after_block = false,
        }
    }
    Ok(blocks)
}

fn block<'a>(
    line: usize,
    commands: String,
    attributes: impl Iterator<Item = &'a str>,
) -> Result<Block, String> {
    let mut block = Block {
        line,
        commands,
        how: How::Exit(0),
        prints: None,
        needs: None,
    };
    // CI runs the cargo commands of this repository, which build for minutes.
    let mut lines = block.commands.lines().map(str::trim);
    if lines.all(|line| line.is_empty() || line.starts_with('#') || line.starts_with("cargo ")) {
        block.how = How::Skip(SKIPS[0].1);
    }
    // Without an equals sign, which rustdoc rejects in a README that is a crate's documentation.
    for attribute in attributes {
        match attribute.split_once('-').unwrap_or((attribute, "")) {
            ("exit", code) => {
                let code = code
                    .parse()
                    .map_err(|_| format!("invalid exit code: {code}"))?;
                block.how = How::Exit(code);
            }
            ("watch", "") => block.how = How::Watch,
            ("background", "") => block.how = How::Background,
            ("needs", program) => block.needs = Some(program.to_owned()),
            ("skip", word) => {
                let reason = SKIPS.iter().find(|(known, _)| *known == word);
                let (_, why) = reason.ok_or_else(|| format!("unknown reason to skip: {word}"))?;
                block.how = How::Skip(why);
            }
            _ => return Err(format!("unknown attribute: {attribute}")),
        }
    }
    Ok(block)
}

#[cfg(test)]
mod tests {
    use super::{How, Mistake, parse};

    fn mistake(text: &str) -> (usize, String) {
        let Mistake { line, what } = parse(text).expect_err("a mistake");
        (line, what)
    }

    #[test]
    fn a_block_has_its_line_its_attributes_and_its_output() {
        let text = "# A\n\n```sh exit-4 needs-psql\na b\n  c\n```\n\n```console\nsaid …\n```\n";
        let blocks = parse(text).expect("blocks");
        assert_eq!(blocks.len(), 1);
        assert_eq!((blocks[0].line, blocks[0].how), (4, How::Exit(4)));
        assert_eq!(blocks[0].commands, "a b\n  c\n");
        assert_eq!(blocks[0].prints.as_deref(), Some("said …\n"));
        assert_eq!(blocks[0].needs.as_deref(), Some("psql"));
    }

    #[test]
    fn comments_contain_commands_that_readers_do_not_see() {
        let blocks = parse("text\n<!-- sh background\nserve\n-->\n").expect("blocks");
        assert_eq!(blocks[0].commands, "serve\n");
        assert_eq!((blocks[0].line, blocks[0].how), (3, How::Background));
    }

    #[test]
    fn a_block_in_a_list_loses_the_lists_indent() {
        let blocks = parse("1. One\n\n   ```sh\n   a\n     b\n   ```\n").expect("blocks");
        assert_eq!(blocks[0].commands, "a\n  b\n");
    }

    #[test]
    fn other_blocks_are_ignored_even_if_they_contain_commands() {
        assert!(
            parse("```text\n$ rm -r\n<!-- sh\n```\n<!-- a remark -->\n")
                .expect("none")
                .is_empty()
        );
    }

    #[test]
    fn an_unknown_reason_to_skip_is_a_mistake() {
        let blocks = parse("```sh skip-install\ncargo install x\n```").expect("blocks");
        assert!(matches!(blocks[0].how, How::Skip(_)));
        assert_eq!(
            mistake("\n```sh skip-lazy\nx\n```"),
            (2, "unknown reason to skip: lazy".into())
        );
    }

    #[test]
    fn blocks_that_only_run_cargo_are_left_to_ci() {
        let blocks = parse("```sh\ncargo xtask ci # all\n\ncargo test\n```").expect("blocks");
        assert!(matches!(blocks[0].how, How::Skip(_)));
        let blocks = parse("```sh\ncargo xtask ci\nbmdb stats\n```").expect("blocks");
        assert_eq!(blocks[0].how, How::Exit(0));
    }

    #[test]
    fn a_mistake_has_its_line() {
        assert_eq!(
            mistake("a\n```sh\nx"),
            (2, "``` is missing at the end of this block".into())
        );
        assert_eq!(
            mistake("```sh until=x\n```"),
            (1, "unknown attribute: until=x".into())
        );
        assert_eq!(mistake("```bash\nx\n```").0, 1);
        assert_eq!(mistake("```console\nx\n```").0, 1);
        assert_eq!(
            mistake("```sh\nx\n```\nIt prints:\n```console\nx\n```").0,
            5
        );
        assert_eq!(mistake("<!-- sh true -->\n").0, 1);
    }
}
