//! `Vary`: an answer goes only to requests that would have shaped it alike.

use http::HeaderName;
use larder::Cache;

use crate::support::*;

/// Answers with the fields it varies on, and names them in these lines of `Vary`.
fn speaking(vary: &'static [&'static str]) -> Origin {
    Origin::new(move |request| {
        let said = |name: &str| {
            let lines = request.headers().get_all(name).iter();
            lines
                .map(|line| line.to_str().unwrap())
                .collect::<Vec<_>>()
                .join("|")
        };
        let language = said("accept-language");
        let theme = said("x-theme");
        let mut response = text(format!("{language}/{theme}"));
        for line in vary {
            response.headers_mut().append("vary", line.parse().unwrap());
        }
        response
    })
}

#[tokio::test]
async fn each_variant_is_stored_beside_the_others() {
    let spellings: [&'static [&'static str]; 4] = [
        &["accept-language, x-theme"],
        &["Accept-Language", "X-Theme"],
        &["x-theme,,accept-language, accept-language"],
        &["", "X-THEME ,\tACCEPT-LANGUAGE"],
    ];
    for vary in spellings {
        let (cache, _clock) = cache();
        let layer = cache.layer().ttl(MINUTE);
        let origin = speaking(vary);
        let languages = [None, Some("de"), Some("en")];
        let themes = [None, Some("dark")];
        for round in ["miss", "hit"] {
            for language in languages {
                for theme in themes {
                    let mut fields = vec![];
                    fields.extend(language.map(|language| ("accept-language", language)));
                    fields.extend(theme.map(|theme| ("x-theme", theme)));
                    let answer = send(&layer, &origin, get("/", &fields)).await;
                    let expected = format!(
                        "{}/{}",
                        language.unwrap_or_default(),
                        theme.unwrap_or_default()
                    );
                    assert_eq!(answer.text(), expected, "{vary:?}");
                    assert_eq!(answer.is_hit(), round == "hit", "{vary:?} {fields:?}");
                }
            }
        }
        assert_eq!(cache.stats().entries, 6);
    }
}

#[tokio::test]
async fn spellings_of_one_value_share_a_variant_and_other_values_do_not() {
    let shared: [(&[&str], &[&str]); 4] = [
        (&["de, en"], &["de,en"]),
        (&["de", "en"], &["de, en"]),
        (&[" de\t"], &["de"]),
        (&["DE"], &["de"]),
    ];
    let apart: [(&[&str], &[&str]); 5] = [
        (&["de, en"], &["en, de"]),
        (&["de"], &[]),
        (&[""], &[]),
        (&["de"], &["de;q=0.9"]),
        (&["de, en"], &["deen"]),
    ];
    let rows = shared.iter().map(|row| (row, true));
    for ((a, b), expected) in rows.chain(apart.iter().map(|row| (row, false))) {
        let (cache, _clock) = cache();
        let layer = cache.layer().ttl(MINUTE);
        let origin = speaking(&["accept-language"]);
        let asking = |lines: &[&'static str]| {
            let fields: Vec<_> = lines
                .iter()
                .map(|line| ("accept-language", *line))
                .collect();
            get("/", &fields)
        };
        send(&layer, &origin, asking(a)).await;
        let second = send(&layer, &origin, asking(b)).await;
        assert_eq!(second.is_hit(), expected, "{a:?} {b:?}");
    }
}

#[tokio::test]
async fn a_response_that_varies_on_everything_or_on_nonsense_is_not_stored() {
    let rows: [&'static [&'static str]; 6] = [
        &["*"],
        &["accept-language, *"],
        &["accept-language", "*"],
        &["accept language"],
        &["\"accept-language\""],
        &["a, b, c, d, e, f, g, h, i"],
    ];
    for vary in rows {
        let (cache, _clock) = cache();
        let layer = cache.layer().ttl(MINUTE);
        let origin = speaking(vary);
        for _ in 0..2 {
            let answer = send(&layer, &origin, get("/", &[])).await;
            assert_eq!(answer.decision(), "fwd=uri-miss; detail=vary", "{vary:?}");
        }
    }
}

#[tokio::test]
async fn more_variants_than_the_limit_are_answered_and_not_stored() {
    let clock = larder::ManualClock::new();
    let cache = Cache::builder()
        .clock(clock.clock())
        .max_variants(4)
        .build()
        .unwrap();
    let layer = cache.layer().ttl(MINUTE);
    let origin = speaking(&["x-theme"]);
    for n in 0..500 {
        let theme = n.to_string();
        let answer = send(&layer, &origin, get("/", &[("x-theme", &theme)])).await;
        assert_eq!(answer.text(), format!("/{n}"));
        match n {
            0 => assert_eq!(answer.decision(), "fwd=uri-miss; stored"),
            1..4 => assert_eq!(answer.decision(), "fwd=vary-miss; stored"),
            _ => assert_eq!(answer.decision(), "fwd=vary-miss; detail=too-many-variants"),
        }
        assert!(cache.stats().entries <= 4);
    }
    for theme in ["0", "1", "2", "3"] {
        let answer = send(&layer, &origin, get("/", &[("x-theme", theme)])).await;
        assert!(answer.is_hit(), "the flood has pushed nothing out");
    }
    // Stale ones make room.
    clock.advance(MINUTE);
    let answer = send(&layer, &origin, get("/", &[("x-theme", "0")])).await;
    assert_eq!(answer.decision(), "fwd=stale; stored");
    let answer = send(&layer, &origin, get("/", &[("x-theme", "new")])).await;
    assert_eq!(answer.decision(), "fwd=vary-miss; stored");
}

#[tokio::test]
async fn an_invalidation_reaches_every_variant_also_those_of_an_earlier_vary() {
    let (cache, _clock) = cache();
    let layer = cache.layer().ttl(MINUTE).tag("posts");
    let by_language = speaking(&["accept-language"]);
    let by_theme = speaking(&["x-theme"]);
    let requests = || {
        [
            get("/", &[("accept-language", "de"), ("x-theme", "dark")]),
            get("/", &[("accept-language", "en"), ("x-theme", "light")]),
        ]
    };
    for invalidate in ["tag", "uri"] {
        for request in requests() {
            send(&layer, &by_language, request).await;
        }
        // The handler changes its mind about what its answers depend on.
        let reload = get("/", &[("x-theme", "dark"), ("cache-control", "no-cache")]);
        send(&layer, &by_theme, reload).await;
        assert_eq!(cache.stats().entries, 3);
        let invalidated = match invalidate {
            "tag" => cache.invalidate_tag("posts").await,
            _ => cache.invalidate_uri("/").await,
        };
        assert_eq!(invalidated.entries, Some(3), "{invalidate}");
        for request in requests() {
            let answer = send(&layer, &by_language, request).await;
            assert!(!answer.is_hit(), "{invalidate}");
        }
        cache.invalidate_all().await.entries.unwrap();
    }
}

#[tokio::test]
async fn a_field_that_a_route_varies_on_is_keyed_and_named_without_the_handlers_help() {
    let (cache, _clock) = cache();
    let theme = HeaderName::from_static("x-theme");
    let layer = cache.layer().ttl(MINUTE).vary_on(theme);
    let origin = speaking(&[]);
    for (theme, is_hit) in [("dark", false), ("light", false), ("dark", true)] {
        let answer = send(&layer, &origin, get("/", &[("x-theme", theme)])).await;
        assert_eq!(answer.text(), format!("/{theme}"));
        assert_eq!(answer.is_hit(), is_hit);
        assert_eq!(answer.field("vary"), "x-theme");
    }
}

#[tokio::test]
async fn an_answer_that_was_not_looked_up_names_what_its_route_varies_on_too() {
    let (cache, _clock) = cache();
    let theme = HeaderName::from_static("x-theme");
    let layer = cache.layer().ttl(MINUTE).vary_on(theme);
    let origin = Origin::with_fields(&[("cache-control", "public, max-age=60")]);
    let answer = send(&layer, &origin, get("/", &[("cookie", "a=b")])).await;
    assert_eq!(answer.decision(), "fwd=bypass; detail=cookie");
    assert_eq!(answer.field("vary"), "x-theme");
}

#[tokio::test]
async fn requests_that_wait_together_get_their_own_variants() {
    let (cache, _clock) = cache();
    let layer = cache.layer().ttl(MINUTE);
    let origin = Origin::later(|request| {
        Box::pin(async move {
            tokio::task::yield_now().await;
            let language = request.headers()["accept-language"].to_str().unwrap();
            let mut response = text(language.to_owned());
            let vary = "accept-language".parse().unwrap();
            response.headers_mut().insert("vary", vary);
            response
        })
    });
    let languages = ["de", "en", "de", "fr", "en", "de"];
    let all = languages.map(|language| {
        let (layer, origin) = (layer.clone(), origin.clone());
        tokio::spawn(async move {
            send(&layer, &origin, get("/", &[("accept-language", language)])).await
        })
    });
    for (task, language) in all.into_iter().zip(languages) {
        assert_eq!(task.await.unwrap().text(), language);
    }
}
