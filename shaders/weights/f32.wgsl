// A weight stored as f32. A kernel that reads weights is joined with exactly one file of this folder; all offer
//   weight(i)    element i of the row-major matrix
//   weight4(i)   elements 4i … 4i+3
@group(0) @binding(30) var<storage, read> weights: array<vec4f>;

fn weight(i: u32) -> f32 {
  return weights[i >> 2u][i & 3u];
}

fn weight4(i: u32) -> vec4f {
  return weights[i];
}
