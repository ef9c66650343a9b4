//! A slow answer to a question that travels in the content of a POST.

use axum::extract::State;
use axum::Json;
use serde::{Deserialize, Serialize};

use crate::App;

/// The content of `POST /ask`.
#[derive(Deserialize)]
pub(crate) struct Question {
    workspace: String,
    question: String,
}

/// The answer to `POST /ask`.
#[derive(Serialize)]
pub(crate) struct Answer {
    workspace: String,
    question: String,
    answer: String,
}

/// Ten times as slow as a post. Whoever asks the same in the meantime waits for this one call.
pub(crate) async fn answer(
    State(app): State<App>,
    Json(Question {
        workspace,
        question,
    }): Json<Question>,
) -> Json<Answer> {
    app.origin.work(10).await;
    let answer = format!("{workspace} has thought about it: 42");
    Json(Answer {
        workspace,
        question,
        answer,
    })
}
