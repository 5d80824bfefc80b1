//! A device whose memory runs out over large units.

use candle_core::Tensor;
use personascope::axes::{Dims, Layer, Pick, Point, Site};
use personascope::capture::{Names, Selection};
use personascope::model::{Interrupt, Lm, Model, Pass, Projection, Rows, Source, Unembedding};
use personascope::text::Message;
use personascope::unit::{Item, Plan, Task};

/// A model that fails as a device does where a pass has more than so many rows.
struct Small {
    lm: Box<dyn Lm>,
    most: usize,
}

impl Lm for Small {
    fn dims(&self) -> &Dims {
        self.lm.dims()
    }
    fn trained_len(&self) -> usize {
        self.lm.trained_len()
    }
    fn points(&self) -> &[Point] {
        self.lm.points()
    }
    fn embed(&self, rows: &Rows) -> personascope::error::Result<Tensor> {
        self.lm.embed(rows)
    }
    fn block(&self, layer: Layer, x: Tensor, pass: &mut Pass<'_, '_>) -> Result<Tensor, Interrupt> {
        if layer.0 == 1 && x.dim(0)? > self.most {
            let e = candle_core::Error::Msg("DriverError(CUDA_ERROR_OUT_OF_MEMORY, \"out of memory\")".into());
            return Err(Interrupt::from(e.bt()));
        }
        self.lm.block(layer, x, pass)
    }
    fn final_norm(&self, x: &Tensor) -> personascope::error::Result<Tensor> {
        self.lm.final_norm(x)
    }
    fn unembedding(&self) -> &Unembedding {
        self.lm.unembedding()
    }
    fn projections(&self) -> Vec<&Projection> {
        self.lm.projections()
    }
    fn projections_mut(&mut self) -> Vec<&mut Projection> {
        self.lm.projections_mut()
    }
}

#[test]
fn a_unit_that_does_not_fit_is_cut_until_it_does_and_gives_the_same_rows() {
    let items = |model: &Model| -> Vec<Item> {
        let said = |n: usize| vec![Message::new("user", "tea ".repeat(n)), Message::new("assistant", "I like tea.")];
        let item = |n: usize| {
            let encoded = model.text.chat(&said(n), false).unwrap();
            let kept = Selection::from(Pick::EachTurn).rows("x", &encoded, &Names::default()).unwrap();
            let ranges = kept.iter().map(|k| k.range()).collect();
            Item { id: format!("p{n}"), tokens: encoded.tokens, ranges, ..Item::default() }
        };
        [3, 30, 7, 12, 1, 40, 9].into_iter().map(item).collect()
    };
    let plan = |model| Plan {
        model,
        task: Task::Capture { sites: vec![Site::post(0), Site::post(2)] },
        edits: vec![],
        items: items(model),
        max_batch_tokens: 4096,
    };
    let model = Model::load(&Source::toyworld()).unwrap();
    let whole = plan(&model).execute(&(0..7)).unwrap();
    assert_eq!(whole.splits, 0);
    let longest = plan(&model).items.iter().map(|i| i.tokens.len()).max().unwrap();

    let mut tight = Model::load(&Source::toyworld()).unwrap();
    tight.lm = Box::new(Small { lm: tight.lm, most: longest });
    let cut = plan(&tight).execute(&(0..7)).unwrap();
    assert!(cut.splits >= 2, "{}", cut.splits);
    assert_eq!(cut.kept, whole.kept);

    let mut hopeless = Model::load(&Source::toyworld()).unwrap();
    hopeless.lm = Box::new(Small { lm: hopeless.lm, most: longest - 1 });
    let e = plan(&hopeless).execute(&(0..7)).unwrap_err();
    assert!(e.to_string().contains("prompt `p40`") && e.hint().contains("bf16"), "{e}");
}
