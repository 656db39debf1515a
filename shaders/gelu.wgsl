// gelu — x times the probability that a standard normal number is below x (Hendrycks & Gimpel 2016).
//   forward         y  = x·p(x)
//   backward_input  dx = so_far + dy·(p(x) + x·p′(x))
//   exact           p(x) = Φ(x) = (1 + erf(x / √2)) / 2          p′(x) = exp(−x² / 2) / √(2π)
//   tanh            p(x) = (1 + tanh(v)) / 2 = σ(2v)              p′(x) = 2·σ(2v)·σ(−2v)·v′
//                   v = √(2/π)·(x + 0.044715·x³)
// x, y, dy, dx, so_far [rows, width].
// WGSL has no erf, and its tanh promises 1e-5 only: both are written out here with exp.
struct Params {
  rows_extent: u32,
  width: u32,
  exact: u32,
  has_so_far: u32,
}
@group(0) @binding(1) var<uniform> params: Params;
@group(0) @binding(2) var<storage, read> x: array<f32>;
@group(0) @binding(3) var<storage, read_write> y: array<f32>;
@group(0) @binding(4) var<storage, read> dy: array<f32>;
@group(0) @binding(5) var<storage, read> so_far: array<f32>;
@group(0) @binding(6) var<storage, read_write> dx: array<f32>;

// Beyond this p is 0 or 1 and p′ is 0 in f32; powers of x stay finite.
const SATURATED = 16.0;

// p and p′ of the exact kind. Below a = |x| / √2 = 1, erf(a) / a is a polynomial in a² (degree 6); above,
// erfc(a)·exp(a²)·a is one in 1/a (degree 8). Fitted at Chebyshev points of [0, 1] and of a in [1, 12]. With
// coefficients rounded to f32, erf is within 5e-8 below the seam, erfc within 3e-7 of itself above it; evaluated in
// f32, Φ is within 1.1e-7 everywhere.
fn exact_gate(v: f32) -> vec2f {
  let a = abs(v) * 0.70710678;
  let bell = exp(-a * a);
  // Φ(−|v|), which is small: no digits are lost in the left tail.
  var below: f32;
  if (a < 1.0) {
    let s = a * a;
    below = 0.5 - 0.5 * a * (1.12837911 + s * (-0.37612626 + s * (0.112835974 + s * (-0.0268543288
      + s * (0.00518931206 + s * (-0.00080188555 + s * 7.8824974e-05))))));
  } else {
    let t = 1.0 / a;
    below = 0.5 * bell * t * (0.564204099 + t * (-0.000579240625 + t * (-0.27263511 + t * (-0.0828562167
      + t * (0.850030563 + t * (-1.30609941 + t * (1.0395753 + t * (-0.445439429 + t * 0.0813831267))))))));
  }
  return vec2f(select(below, 1.0 - below, v >= 0.0), 0.39894228 * bell);
}

// p and p′ of the tanh kind. exp sees no positive number, so it cannot overflow.
fn tanh_gate(v: f32) -> vec2f {
  let twice = 1.59576912 * v * (1.0 + 0.044715 * v * v);
  let small = exp(-abs(twice));
  let both = vec2f(1.0, small) / (1.0 + small);
  let slope = 1.59576912 * (1.0 + 0.134145 * v * v);
  return vec2f(select(both.y, both.x, v >= 0.0), both.x * both.y * slope);
}

fn gate(value: f32) -> vec2f {
  let v = clamp(value, -SATURATED, SATURATED);
  if (params.exact != 0u) {
    return exact_gate(v);
  }
  return tanh_gate(v);
}

@compute @workgroup_size(64)
fn forward(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u,
           @builtin(local_invocation_index) lane: u32) {
  let i = flat_workgroup(group, groups) * 64u + lane;
  if (i < extent(params.rows_extent) * params.width) {
    y[i] = x[i] * gate(x[i]).x;
  }
}

@compute @workgroup_size(64)
fn backward_input(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u,
                  @builtin(local_invocation_index) lane: u32) {
  let i = flat_workgroup(group, groups) * 64u + lane;
  if (i >= extent(params.rows_extent) * params.width) {
    return;
  }
  let p = gate(x[i]);
  var sum = dy[i] * (p.x + x[i] * p.y);
  if (params.has_so_far != 0u) {
    sum += so_far[i];
  }
  dx[i] = sum;
}
