//! A parquet file: columns of the keys, and for each site a column of lists of f32. Written with the low-level writer:
//! no Arrow.

use super::Selection;
use crate::error::{Error, Result};
use crate::store::Appending;
use crate::store::keys::{Column, Keys};
use crate::store::opened::Store;
use parquet::basic::{LogicalType, Repetition, Type as Physical};
use parquet::data_type::{ByteArray, ByteArrayType, DataType, DoubleType, FloatType, Int64Type};
use parquet::errors::ParquetError;
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use parquet::file::writer::{SerializedFileWriter, SerializedRowGroupWriter};
use parquet::schema::types::{ColumnPath, Type};
use std::fs::File;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Bytes of the values of a row group.
const GROUP: usize = 64 << 20;

/// Keys are int64 or double with nulls where a cell is empty, or text; lists hold f32 whatever the store keeps.
pub(super) fn write(
    store: &Store,
    what: &Selection,
    keys: &Keys,
    out: &Path,
    progress: &mut dyn FnMut(u64),
) -> Result<Vec<PathBuf>> {
    let failed = |e: ParquetError| Error::io("write", out, std::io::Error::other(e));
    let aside = Appending::create(out)?;
    let Some(file) = aside.file() else { return Ok(vec![]) };
    let mut properties = WriterProperties::builder();
    for w in &what.sites {
        // Activations repeat no value, and nobody asks for those in a range.
        let path = ColumnPath::new(vec![w.site.to_string(), "list".into(), "element".into()]);
        properties = properties
            .set_column_dictionary_enabled(path.clone(), false)
            .set_column_statistics_enabled(path, EnabledStatistics::None);
    }
    let columns: Vec<(&Column, Cells)> = keys.columns.iter().map(|c| (c, Cells::of(c))).collect();
    let schema = schema(what, &columns).map_err(failed)?;
    let mut writer = SerializedFileWriter::new(file, Arc::new(schema), Arc::new(properties.build())).map_err(failed)?;
    let size = store.manifest.dtype.size();
    for rows in groups(what) {
        let mut group = writer.next_row_group().map_err(failed)?;
        for (column, cells) in &columns {
            cells.write(column, &rows, &mut group).map_err(failed)?;
        }
        for w in &what.sites {
            let mut values = Vec::new();
            for run in &rows {
                values.extend(store.read(w.site, run.clone())?);
            }
            let levels: Vec<i16> = (0..values.len()).map(|i| i16::from(i % w.width != 0)).collect();
            put::<FloatType>(&mut group, &values, &vec![1; values.len()], Some(&levels)).map_err(failed)?;
            progress((values.len() * size) as u64);
        }
        group.close().map_err(failed)?;
    }
    writer.close().map_err(failed)?;
    aside.finish()?;
    Ok(vec![out.into()])
}

/// Runs of rows that make a group each.
fn groups(what: &Selection) -> Vec<Vec<Range<usize>>> {
    let most = (GROUP / (4 * what.width())).max(1);
    let (mut groups, mut held): (Vec<Vec<Range<usize>>>, usize) = (Vec::new(), most);
    for piece in what.pieces(most) {
        match groups.last_mut().filter(|_| held + piece.len() <= most) {
            Some(group) => {
                held += piece.len();
                group.push(piece);
            }
            None => {
                held = piece.len();
                groups.push(vec![piece]);
            }
        }
    }
    groups
}

fn schema(what: &Selection, keys: &[(&Column, Cells)]) -> parquet::errors::Result<Type> {
    let mut fields = Vec::new();
    for (column, cells) in keys {
        let (physical, logical) = match cells {
            Cells::Ints(_) => (Physical::INT64, None),
            Cells::Floats(_) => (Physical::DOUBLE, None),
            Cells::Texts => (Physical::BYTE_ARRAY, Some(LogicalType::String)),
        };
        let field = Type::primitive_type_builder(&column.name, physical)
            .with_repetition(Repetition::OPTIONAL)
            .with_logical_type(logical);
        fields.push(Arc::new(field.build()?));
    }
    for w in &what.sites {
        let element = Type::primitive_type_builder("element", Physical::FLOAT).with_repetition(Repetition::REQUIRED);
        let list = Type::group_type_builder("list")
            .with_repetition(Repetition::REPEATED)
            .with_fields(vec![Arc::new(element.build()?)]);
        let site = Type::group_type_builder(&w.site.to_string())
            .with_repetition(Repetition::REQUIRED)
            .with_logical_type(Some(LogicalType::List))
            .with_fields(vec![Arc::new(list.build()?)])
            .build()?;
        fields.push(Arc::new(site));
    }
    Type::group_type_builder("rows").with_fields(fields).build()
}

/// What a column of keys becomes.
enum Cells {
    Ints(Vec<Option<i64>>),
    Floats(Vec<Option<f64>>),
    Texts,
}

impl Cells {
    fn of(column: &Column) -> Cells {
        if column.name != "id" {
            let ints: Vec<Option<i64>> = column.ints().into_iter().flatten().collect();
            if ints.iter().any(Option::is_some) {
                return Cells::Ints(ints);
            }
            if let Some(numbers) = column.numbers() {
                return Cells::Floats(numbers);
            }
        }
        Cells::Texts
    }

    fn write(&self, column: &Column, rows: &[Range<usize>], group: &mut Group<'_, '_>) -> parquet::errors::Result<()> {
        let each = || rows.iter().cloned().flatten();
        match self {
            Cells::Ints(all) => some::<Int64Type>(group, each().map(|r| all[r])),
            Cells::Floats(all) => some::<DoubleType>(group, each().map(|r| all[r])),
            Cells::Texts => {
                let text = |r| Some(ByteArray::from(column.text(r).into_owned().into_bytes()));
                some::<ByteArrayType>(group, each().map(text))
            }
        }
    }
}

type Group<'a, 'f> = SerializedRowGroupWriter<'a, &'f File>;

fn some<T: DataType>(
    group: &mut Group<'_, '_>,
    cells: impl Iterator<Item = Option<T::T>>,
) -> parquet::errors::Result<()> {
    let (mut values, mut levels) = (Vec::new(), Vec::new());
    for cell in cells {
        levels.push(i16::from(cell.is_some()));
        values.extend(cell);
    }
    put::<T>(group, &values, &levels, None)
}

fn put<T: DataType>(
    group: &mut Group<'_, '_>,
    values: &[T::T],
    definition: &[i16],
    repetition: Option<&[i16]>,
) -> parquet::errors::Result<()> {
    let Some(mut column) = group.next_column()? else { return Ok(()) };
    column.typed::<T>().write_batch(values, Some(definition), repetition)?;
    column.close()
}
