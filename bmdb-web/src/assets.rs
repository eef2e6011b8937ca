//! Static files: stylesheet, script and icon. They are compiled in, and their names contain a hash of
//! their contents.

use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::response::{IntoResponse, Response};
use std::hash::{DefaultHasher, Hasher as _};
use std::sync::LazyLock;

#[derive(Debug)]
pub(crate) struct Asset {
    pub(crate) name: String,
    content_type: &'static str,
    text: &'static str,
}

pub(crate) static STYLESHEET: LazyLock<Asset> =
    LazyLock::new(|| Asset::new("css", "text/css", include_str!("assets/console.css")));

pub(crate) static SCRIPT: LazyLock<Asset> =
    LazyLock::new(|| Asset::new("js", "text/javascript", include_str!("assets/console.js")));

pub(crate) static ICON: LazyLock<Asset> =
    LazyLock::new(|| Asset::new("svg", "image/svg+xml", include_str!("assets/icon.svg")));

impl Asset {
    fn new(extension: &str, content_type: &'static str, text: &'static str) -> Self {
        let mut hasher = DefaultHasher::new();
        hasher.write(text.as_bytes());
        Self {
            name: format!("{:016x}.{extension}", hasher.finish()),
            content_type,
            text,
        }
    }

    /// The asset with this name; `None` if its contents have changed since.
    pub(crate) fn find(name: &str) -> Option<&'static Self> {
        let assets = [&*STYLESHEET, &*SCRIPT, &*ICON];
        assets.into_iter().find(|asset| asset.name == name)
    }
}

impl IntoResponse for &Asset {
    fn into_response(self) -> Response {
        let content_type = format!("{}; charset=utf-8", self.content_type);
        // Browsers may keep it, because its name changes with its contents.
        let immutable = "public, max-age=31536000, immutable".to_owned();
        let headers = [(CONTENT_TYPE, content_type), (CACHE_CONTROL, immutable)];
        (headers, self.text).into_response()
    }
}
