//! Posts: lists and single ones with tags, and the changes that invalidate them.

use axum::extract::{FromRequestParts, Path, Query, State};
use axum::http::request::Parts;
use axum::http::StatusCode;
use axum::Json;
use larder::{Invalidate, Invalidated, Tags};
use serde::{Deserialize, Serialize};

use crate::origin::Post;
use crate::App;

/// The part of a list that was asked for.
#[derive(Deserialize)]
#[serde(default)]
pub(crate) struct Page {
    limit: usize,
    offset: usize,
    category: Option<String>,
}

impl Default for Page {
    fn default() -> Self {
        Self {
            limit: 20,
            offset: 0,
            category: None,
        }
    }
}

/// A page out of bounds is refused before the handler runs. The cache stores no 422.
impl<S: Send + Sync> FromRequestParts<S> for Page {
    type Rejection = (StatusCode, &'static str);

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Self::Rejection> {
        match Query::<Self>::from_request_parts(parts, state).await {
            Ok(Query(page)) if (1..=100).contains(&page.limit) => Ok(page),
            _ => Err((
                StatusCode::UNPROCESSABLE_ENTITY,
                "limit is 1 to 100 (20 by default), offset 0 or more",
            )),
        }
    }
}

/// The answer to `GET /posts`.
#[derive(Serialize)]
pub(crate) struct PostList {
    total: usize,
    limit: usize,
    offset: usize,
    items: Vec<Post>,
}

/// Tagged by its category, so that one category can be invalidated; the route adds `posts`.
pub(crate) async fn list(State(app): State<App>, page: Page) -> (Option<Tags>, Json<PostList>) {
    app.origin.work(1).await;
    let posts = app.origin.posts(page.category.as_deref());
    let list = PostList {
        total: posts.len(),
        limit: page.limit,
        offset: page.offset,
        items: posts
            .into_iter()
            .skip(page.offset)
            .take(page.limit)
            .collect(),
    };
    let tag = page.category.map(|category| category_tag(&category));
    (tag.map(|tag| Tags::new([tag])), Json(list))
}

/// Tagged by the post's own id, however the path spelled it.
pub(crate) async fn show(
    State(app): State<App>,
    Path(id): Path<String>,
) -> Result<(Tags, Json<Post>), StatusCode> {
    app.origin.work(1).await;
    let id: u32 = id.parse().map_err(|_| StatusCode::NOT_FOUND)?;
    let post = app.origin.post(id).ok_or(StatusCode::NOT_FOUND)?;
    Ok((Tags::new([post_tag(post.id)]), Json(post)))
}

/// The content of `PUT /posts/{id}`.
#[derive(Deserialize)]
pub(crate) struct NewTitle {
    title: String,
}

/// Says what the change has made wrong. The layers carry it out before the answer leaves, so whoever
/// has seen the new title never sees the old one again.
pub(crate) async fn rename(
    State(app): State<App>,
    Path(id): Path<String>,
    Json(new): Json<NewTitle>,
) -> Result<(Invalidate, Json<Post>), StatusCode> {
    let id: u32 = id.parse().map_err(|_| StatusCode::NOT_FOUND)?;
    let post = app.origin.rename(id, new.title);
    let post = post.ok_or(StatusCode::NOT_FOUND)?;
    let outdated = Invalidate::tags([post_tag(post.id), "posts".to_owned()]);
    Ok((outdated, Json(post)))
}

/// The query of `POST /admin/posts/invalidate`.
#[derive(Deserialize)]
pub(crate) struct Category {
    category: String,
}

/// The answer to `POST /admin/posts/invalidate`, and to a webhook.
#[derive(Serialize)]
pub(crate) struct Outcome {
    /// `None` for a cache without a tag index; this one has one.
    invalidated: Option<u64>,
}

impl From<Invalidated> for Outcome {
    fn from(invalidated: Invalidated) -> Self {
        Self {
            invalidated: invalidated.entries,
        }
    }
}

/// Invalidates by hand, through the handle, and awaits the count, and that other nodes have heard.
pub(crate) async fn invalidate(
    State(app): State<App>,
    Query(Category { category }): Query<Category>,
) -> Json<Outcome> {
    let invalidated = app.cache.invalidate_tag(category_tag(&category)).await;
    Json(invalidated.into())
}

/// Tags are written in one place, so that who stores and who invalidates cannot differ.
pub(crate) fn post_tag(id: u32) -> String {
    format!("post:{id}")
}

fn category_tag(category: &str) -> String {
    format!("posts:cat:{category}")
}
