//! A strict HTML parser: markup that is not well-formed is a value that was not escaped.

/// A start tag.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Tag {
    pub(crate) name: String,
    pub(crate) attributes: Vec<(String, String)>,
}

impl Tag {
    pub(crate) fn attribute(&self, name: &str) -> Option<&str> {
        let found = self
            .attributes
            .iter()
            .find(|(attribute, _)| attribute == name);
        found.map(|(_, value)| value.as_str())
    }
}

/// Elements without an end tag.
const VOID: [&str; 3] = ["meta", "link", "input"];

/// The elements of our pages. Only our own stylesheet, script and icon are loaded.
const KNOWN: &str = "html head meta title link script body a header nav button main footer p ul ol li h1 h2 h3 \
    div span code pre dl dt dd table caption thead tbody tr th td time form label input select option strong \
    section figure figcaption svg desc g path line circle rect text details summary em";

/// The start tags of a document, in order.
///
/// # Panics
/// When it is not well-formed.
pub(crate) fn tags(document: &str) -> Vec<Tag> {
    let body = document
        .strip_prefix("<!DOCTYPE html>")
        .expect("a document type");
    let (mut tags, mut open) = (Vec::new(), Vec::new());
    let mut rest = body;
    while let Some(at) = rest.find(['<', '>']) {
        let text = &rest[at..];
        assert!(text.starts_with('<'), "a lone > before {text:.80}");
        if let Some(end) = text.strip_prefix("</") {
            let (name, after) = end.split_once('>').expect("an end");
            assert_eq!(open.pop().as_deref(), Some(name), "at {text:.80}");
            rest = after;
            continue;
        }
        let (tag, after) = tag(&text[1..]);
        assert!(
            KNOWN.split_whitespace().any(|known| known == tag.name),
            "<{}>",
            tag.name
        );
        if !VOID.contains(&tag.name.as_str()) {
            open.push(tag.name.clone());
        }
        tags.push(tag);
        rest = after;
    }
    assert_eq!(open, Vec::<String>::new(), "elements without an end tag");
    tags
}

/// Parses a tag after its `<`, and returns the text after its `>`. Attribute values have double quotes.
fn tag(text: &str) -> (Tag, &str) {
    let end = text.find([' ', '>']).expect("a name");
    let name = text[..end].to_owned();
    let mut attributes = Vec::new();
    let mut rest = &text[end..];
    loop {
        if let Some(after) = rest.strip_prefix('>') {
            return (Tag { name, attributes }, after);
        }
        rest = rest
            .strip_prefix(' ')
            .unwrap_or_else(|| panic!("no attribute: {rest:.80}"));
        let end = rest.find([' ', '>', '=']).expect("an attribute");
        let attribute = rest[..end].to_owned();
        let is_name = |c: char| c.is_ascii_alphanumeric() || c == '-';
        assert!(
            !attribute.is_empty() && attribute.chars().all(is_name),
            "{attribute:?}"
        );
        rest = &rest[end..];
        let mut value = String::new();
        if let Some(quoted) = rest.strip_prefix("=\"") {
            let (text, after) = quoted.split_once('"').expect("a value");
            assert!(!text.contains(['<', '>']), "{attribute}={text}");
            value = unescaped(text);
            rest = after;
        }
        attributes.push((attribute, value));
    }
}

fn unescaped(text: &str) -> String {
    let text = text.replace("&quot;", "\"").replace("&lt;", "<");
    text.replace("&gt;", ">").replace("&amp;", "&")
}

/// The addresses of the document's links.
pub(crate) fn links(document: &str) -> Vec<String> {
    let anchors = tags(document).into_iter().filter(|tag| tag.name == "a");
    anchors
        .filter_map(|tag| tag.attribute("href").map(str::to_owned))
        .collect()
}

/// Checks the document for violations of the content security policy, duplicate ids and headings.
pub(crate) fn check(document: &str, address: &str) {
    let mut ids = Vec::new();
    for tag in tags(document) {
        for (name, value) in &tag.attributes {
            assert!(
                !name.starts_with("on") && name != "style",
                "{address}: {name}={value}"
            );
            if name == "href" || name == "src" || name == "action" {
                assert!(
                    value.starts_with('/') || value.starts_with('#'),
                    "{address}: {value}"
                );
            }
            if name == "id" {
                assert!(!ids.contains(value), "{address}: two elements are {value}");
                ids.push(value.clone());
            }
        }
        if tag.name == "script" {
            assert!(
                tag.attribute("src").is_some(),
                "{address}: a script within the page"
            );
        }
    }
    assert!(!document.contains("<script></script>"));
    for text in document.split("<script ").skip(1) {
        let (_, content) = text.split_once('>').unwrap();
        assert!(content.starts_with("</script>"), "{address}: {content:.40}");
    }
    assert_eq!(document.matches("<h1>").count(), 1, "{address}");
}

#[test]
#[should_panic(expected = "no attribute")]
fn a_value_outside_of_its_attribute_is_found() {
    tags("<!DOCTYPE html><a href=\"/\"onclick=\"x\"></a>");
}

#[test]
#[should_panic(expected = "<img>")]
fn an_injected_element_is_found() {
    tags("<!DOCTYPE html><p><img src=\"x\"></p>");
}
