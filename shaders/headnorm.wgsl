// headnorm — root-mean-square norm of each query and key head inside a fused projection (Qwen3), with one gain
// that all query heads share and one that all key heads share; value heads pass through.
//   forward         y  = gain ⊙ x̂  in q and k heads, x in v heads   x̂ = x · r,  r = 1 / sqrt(mean(x²) + eps)
//   backward_input  dx = so_far + r·(u − x̂·mean(u·x̂))               u = gain ⊙ dy
//                   dx = so_far + dy  in v heads
//   backward_gain   dgain += Σ_rows Σ_heads dy ⊙ x̂                   over the q heads, or over the k heads
// x, y, dy, dx, so_far [rows, (heads + 2 · kv_heads) · head_dim], heads of q, then k, then v;
// gain_q, gain_k, dgain [head_dim]; r [rows, heads + kv_heads], saved by forward. Means are over one head.
struct Params {
  rows_extent: u32,
  heads: u32,
  kv_heads: u32,
  head_dim: u32,
  // The heads that backward_gain sums over.
  first_head: u32,
  summed_heads: u32,
  has_so_far: u32,
  eps: f32,
}
@group(0) @binding(1) var<uniform> params: Params;
@group(0) @binding(2) var<storage, read> x: array<f32>;
@group(0) @binding(3) var<storage, read> gain_q: array<f32>;
@group(0) @binding(4) var<storage, read> gain_k: array<f32>;
@group(0) @binding(5) var<storage, read_write> y: array<f32>;
@group(0) @binding(6) var<storage, read_write> r_out: array<f32>;
@group(0) @binding(7) var<storage, read> r: array<f32>;
@group(0) @binding(8) var<storage, read> dy: array<f32>;
@group(0) @binding(9) var<storage, read> so_far: array<f32>;
@group(0) @binding(10) var<storage, read_write> dx: array<f32>;
@group(0) @binding(11) var<storage, read_write> dgain: array<f32>;

// Invocations that share a row, a power of two: src/ops/tiles.ts says how many.
override LANES: u32 = 64;
var<workgroup> partial: array<f32, LANES>;

// A fixed tree, so that the sum has the same bytes on every run.
fn head_sum(lane: u32, value: f32) -> f32 {
  partial[lane] = value;
  workgroupBarrier();
  for (var half = LANES / 2u; half > 0u; half /= 2u) {
    if (lane < half) {
      partial[lane] += partial[lane + half];
    }
    workgroupBarrier();
  }
  return partial[0];
}

// Heads with a norm: all but v's. They have an r each.
fn normed_heads() -> u32 {
  return params.heads + params.kv_heads;
}

fn all_heads() -> u32 {
  return params.heads + 2u * params.kv_heads;
}

fn gain(head: u32, i: u32) -> f32 {
  if (head < params.heads) {
    return gain_q[i];
  }
  return gain_k[i];
}

// One workgroup a head of a row.
@compute @workgroup_size(LANES)
fn forward(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u,
           @builtin(local_invocation_index) lane: u32) {
  let unit = flat_workgroup(group, groups);
  let row = unit / all_heads();
  let head = unit % all_heads();
  let live_row = row < extent(params.rows_extent);
  let normed = head < normed_heads();
  let start = unit * params.head_dim;
  var squares = 0.0;
  if (live_row && normed) {
    for (var i = lane; i < params.head_dim; i += LANES) {
      squares += x[start + i] * x[start + i];
    }
  }
  let scale = 1.0 / sqrt(head_sum(lane, squares) / f32(params.head_dim) + params.eps);
  if (!live_row) {
    return;
  }
  for (var i = lane; i < params.head_dim; i += LANES) {
    if (normed) {
      y[start + i] = gain(head, i) * (x[start + i] * scale);
    } else {
      y[start + i] = x[start + i];
    }
  }
  if (lane == 0u && normed) {
    r_out[row * normed_heads() + head] = scale;
  }
}

@compute @workgroup_size(LANES)
fn backward_input(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u,
                  @builtin(local_invocation_index) lane: u32) {
  let unit = flat_workgroup(group, groups);
  let row = unit / all_heads();
  let head = unit % all_heads();
  let live_row = row < extent(params.rows_extent);
  let normed = head < normed_heads();
  let start = unit * params.head_dim;
  var scale = 0.0;
  var product = 0.0;
  if (live_row && normed) {
    scale = r[row * normed_heads() + head];
    for (var i = lane; i < params.head_dim; i += LANES) {
      product += gain(head, i) * dy[start + i] * (x[start + i] * scale);
    }
  }
  let mean = head_sum(lane, product) / f32(params.head_dim);
  if (!live_row) {
    return;
  }
  for (var i = lane; i < params.head_dim; i += LANES) {
    var sum = dy[start + i];
    if (normed) {
      sum = scale * (gain(head, i) * dy[start + i] - x[start + i] * scale * mean);
    }
    if (params.has_so_far != 0u) {
      sum += so_far[start + i];
    }
    dx[start + i] = sum;
  }
}

// A workgroup sums 8 neighbouring features, each by 32 lanes that take every 32nd head of every row. Past the last
// feature it sums what lies there, and does not store it.
const COLUMNS = 8u;
const HEAD_LANES = 32u;
var<workgroup> column_partial: array<f32, COLUMNS * HEAD_LANES>;

// The feature's sum, valid in the first COLUMNS lanes. A fixed tree again.
fn column_sum(lane: u32, value: f32) -> f32 {
  column_partial[lane] = value;
  workgroupBarrier();
  for (var half = COLUMNS * HEAD_LANES / 2u; half >= COLUMNS; half /= 2u) {
    if (lane < half) {
      column_partial[lane] += column_partial[lane + half];
    }
    workgroupBarrier();
  }
  return column_partial[lane];
}

@compute @workgroup_size(COLUMNS * HEAD_LANES)
fn backward_gain(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u,
                 @builtin(local_invocation_index) lane: u32) {
  let column = flat_workgroup(group, groups) * COLUMNS + lane % COLUMNS;
  let units = extent(params.rows_extent) * params.summed_heads;
  var part = 0.0;
  for (var unit = lane / COLUMNS; unit < units; unit += HEAD_LANES) {
    let row = unit / params.summed_heads;
    let head = params.first_head + unit % params.summed_heads;
    let at = (row * all_heads() + head) * params.head_dim + column;
    part += dy[at] * (x[at] * r[row * normed_heads() + head]);
  }
  let sum = column_sum(lane, part);
  if (lane < COLUMNS && column < params.head_dim) {
    dgain[column] += sum;
  }
}
