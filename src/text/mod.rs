pub struct Text;
impl Text {
    pub fn from_dir(_: &std::path::Path) -> crate::error::Result<Text> {
        Ok(Text)
    }
    pub fn from_bytes(_: &str, _: &[u8], _: Option<&[u8]>, _: Option<&[u8]>) -> crate::error::Result<Text> {
        Ok(Text)
    }
    pub fn vocab_size(&self) -> usize {
        0
    }
}
