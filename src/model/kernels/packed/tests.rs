use super::super::team;
use super::super::testing::values;
use super::*;

fn f32s(seed: u64, n: usize) -> Vec<f32> {
    values(seed, n).into_iter().map(|v| v as f32).collect()
}

fn matrix(seed: u64, rows: usize, columns: usize) -> Tensor {
    Tensor::from_vec(f32s(seed, rows * columns), (rows, columns), &Device::Cpu).unwrap()
}

/// Depths around one and two runs and blocks of terms, widths around whole panels.
const SHAPES: [(usize, usize); 8] =
    [(96, 192), (31, 7), (1, 70), (512, 32), (513, 33), (1024, 64), (1100, 129), (2600, 40)];

#[test]
fn products_are_those_of_f64() {
    for (d_in, d_out) in SHAPES {
        let w = matrix(1, d_in, d_out);
        let packed = Packed::of(DType::F32, &w).unwrap();
        for rows in [1, 5, 12, 13, 40] {
            let x = matrix(2, rows, d_in);
            let wide = |t: &Tensor| t.to_dtype(DType::F64).unwrap();
            let want = wide(&x).matmul(&wide(&w)).unwrap();
            let diff = (wide(&linear_packed(&x, &packed).unwrap()) - want).unwrap().abs().unwrap();
            // A chain of 512 terms below 1 in size errs by about sqrt(512 * 512) / 2 half ulps of its partial sums,
            // which stay below 16: some 1e-5 for sums of all lengths here.
            assert!(diff.max_all().unwrap().to_scalar::<f64>().unwrap() < 4e-5, "{rows} rows of [{d_in}, {d_out}]");
        }
    }
}

#[test]
fn a_row_does_not_depend_on_the_rows_beside_it_nor_on_the_threads() {
    for dtype in [DType::F32, DType::BF16, DType::F16] {
        for (d_in, d_out) in SHAPES {
            let packed = Packed::of(dtype, &matrix(3, d_in, d_out)).unwrap();
            let x = f32s(4, 301 * d_in);
            let whole = packed.multiply(&x);
            for (from, n) in [(0, 1), (1, 2), (5, 3), (9, 12), (40, 13), (64, 64), (1, 300)] {
                let part = packed.multiply(&x[from * d_in..(from + n) * d_in]);
                assert!(part == whole[from * d_out..(from + n) * d_out], "{n} rows of [{d_in}, {d_out}] in {dtype:?}");
            }
            team::with(3, || {
                while team::hands() < 3 {
                    std::thread::yield_now();
                }
                assert!(packed.multiply(&x) == whole && packed.multiply(&x[..2 * d_in]) == whole[..2 * d_out]);
            });
        }
    }
}

#[test]
fn sixteen_bits_give_the_bits_of_f32_with_the_rounded_weights() {
    for dtype in [DType::BF16, DType::F16] {
        let w = matrix(5, 700, 75);
        let rounded = w.to_dtype(dtype).unwrap().to_dtype(DType::F32).unwrap();
        let (held, wide) = (Packed::of(dtype, &w).unwrap(), Packed::of(DType::F32, &rounded).unwrap());
        assert_eq!(held.to_tensor().unwrap().to_vec2::<f32>().unwrap(), rounded.to_vec2::<f32>().unwrap());
        for rows in [1, 7, 50] {
            let x = f32s(6, rows * 700);
            assert!(held.multiply(&x) == wide.multiply(&x), "{rows} rows in {dtype:?}");
        }
        // 700 terms of 3 panels of 32 columns in 2 bytes.
        assert_eq!((held.bytes(), wide.bytes(), held.dtype()), (700 * 96 * 2, 700 * 96 * 4, dtype));
    }
}

#[test]
fn stored_matrices_are_packed_side_by_side_from_their_bytes() {
    // Two stored matrices [out, in], in different dtypes and the second first, beside one [in, out].
    let (a, b, c) = (matrix(7, 40, 50), matrix(8, 3, 50), matrix(9, 50, 30));
    let bytes = |t: &Tensor| t.flatten_all().unwrap().to_vec1::<f32>().unwrap();
    let mut packer = Packer::new(DType::F32, 50, 73).unwrap();
    let b_f64: Vec<u8> = bytes(&b).iter().flat_map(|v| f64::from(*v).to_le_bytes()).collect();
    let a_f32: Vec<u8> = bytes(&a).iter().flat_map(|v| v.to_le_bytes()).collect();
    let c_f32: Vec<u8> = bytes(&c).iter().flat_map(|v| v.to_le_bytes()).collect();
    assert_eq!(packer.stored_rows(40..43, DType::F64, &b_f64).unwrap(), Unfit::default());
    assert_eq!(packer.stored_rows(0..40, DType::F32, &a_f32).unwrap(), Unfit::default());
    assert_eq!(packer.stored_columns(43..73, DType::F32, &c_f32).unwrap(), Unfit::default());
    let packed = packer.finish().unwrap();
    let want = Tensor::cat(&[a.t().unwrap(), b.t().unwrap(), c], 1).unwrap();
    assert_eq!(packed.to_tensor().unwrap().to_vec2::<f32>().unwrap(), want.to_vec2::<f32>().unwrap());
    let columns = want.t().unwrap().to_vec2::<f32>().unwrap();
    let ids = [72u32, 0, 31, 32, 0];
    let gathered: Vec<f32> = ids.iter().flat_map(|i| columns[*i as usize].clone()).collect();
    assert_eq!(packed.gather(&ids).unwrap(), gathered);
    assert!(packed.gather(&[73]).unwrap_err().to_string().contains("73"));
}

#[test]
fn sixteen_bits_stored_are_read_and_what_does_not_fit_is_counted() {
    let stored: Vec<u8> =
        [1.5f32, f32::NAN, -3.0e5, f32::INFINITY].iter().flat_map(|v| bf16::from_f32(*v).to_le_bytes()).collect();
    let mut packer = Packer::new(DType::F16, 1, 4).unwrap();
    let unfit = packer.stored_rows(0..4, DType::BF16, &stored).unwrap();
    assert_eq!(unfit, Unfit { not_finite: 2, too_large: 1 });
    let stored: Vec<u8> = [6.1e-8f32, -0.25].iter().flat_map(|v| f16::from_f32(*v).to_le_bytes()).collect();
    let mut packer = Packer::new(DType::F32, 1, 2).unwrap();
    assert_eq!(packer.stored_rows(0..2, DType::F16, &stored).unwrap(), Unfit::default());
    // The smallest subnormal of f16 is 2^-24.
    assert_eq!(packer.finish().unwrap().gather(&[0, 1]).unwrap(), [2.0f32.powi(-24), -0.25]);
}

#[test]
fn what_does_not_belong_together_is_refused() {
    let message = |r: Result<Unfit>| r.unwrap_err().to_string();
    let mut packer = Packer::new(DType::F32, 4, 3).unwrap();
    assert!(message(packer.stored_rows(0..2, DType::F32, &[0; 28])).contains("7 values"));
    assert!(message(packer.stored_rows(2..4, DType::F32, &[0; 32])).contains("2..4"));
    assert!(message(packer.stored_rows(0..1, DType::U32, &[0; 16])).contains("U32"));
    assert!(message(packer.stored_rows(0..1, DType::F32, &[0; 17])).contains("17 bytes"));
    assert!(Packer::new(DType::F64, 4, 3).is_err());
    packer.columns(0..2, &[0.0; 8]).unwrap();
    assert!(packer.finish().err().unwrap().to_string().contains("2 to 3"));
    let packed = Packed::of(DType::F32, &matrix(1, 4, 3)).unwrap();
    let error = linear_packed(&matrix(1, 2, 5), &packed).unwrap_err().to_string();
    assert!(error.contains("[2, 5]") && error.contains("[4, 3]"), "{error}");
}
