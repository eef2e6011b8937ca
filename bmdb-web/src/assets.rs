//! The stylesheet, the script and the icon: compiled in, and named by what is in them.

use crate::app::App;
use crate::error::Problem;
use axum::extract::{Path, State};
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::response::{IntoResponse, Response};
use std::sync::LazyLock;

/// A file that pages refer to. Its name changes with its contents, so browsers may keep it for good.
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
        Self {
            name: format!("{:016x}.{extension}", fnv(text)),
            content_type,
            text,
        }
    }
}

/// The 64-bit FNV-1a hash: enough to tell one version from the next.
fn fnv(text: &str) -> u64 {
    text.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

/// A file by its name, that of another version excepted.
pub(crate) async fn serve(State(app): State<App>, Path(file): Path<String>) -> Response {
    let found = [&*STYLESHEET, &*SCRIPT, &*ICON]
        .into_iter()
        .find(|asset| asset.name == file);
    let Some(asset) = found else {
        return app.render(Err(Problem::no_page()));
    };
    let content_type = format!("{}; charset=utf-8", asset.content_type);
    let for_good = "public, max-age=31536000, immutable".to_owned();
    let headers = [(CONTENT_TYPE, content_type), (CACHE_CONTROL, for_good)];
    (headers, asset.text).into_response()
}
