//! stub
use candle_core::Tensor;
use std::collections::BTreeMap;
pub struct LowRank {
    pub a: Tensor,
    pub b: Tensor,
    pub scale: f64,
}
pub struct Adapter {
    pub name: String,
    pub modules: BTreeMap<String, LowRank>,
}
impl Adapter {
    pub fn new(name: &str, modules: BTreeMap<String, LowRank>) -> Adapter {
        Adapter { name: name.into(), modules }
    }
    pub fn files(
        &self,
        _: &str,
        _: &str,
        _: usize,
        _: f64,
        _: bool,
        _: candle_core::DType,
    ) -> crate::error::Result<Vec<(String, Vec<u8>)>> {
        Ok(vec![])
    }
}
