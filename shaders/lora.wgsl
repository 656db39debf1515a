// lora — the low-rank path beside a frozen product. A projection may be several modules one below the other
// (q, k and v), of which some are adapted: one launch serves all of them.
//   down             p   = x·Aᵀ                      of every adapted module, side by side
//   up               y  += s·(p·Bᵀ + p₀·B₀ᵀ + bias)  in the rows of W that belong to the module
//   backward_p       dp  = s·dy·B
//   backward_b       dB += s·dyᵀ·p
//   backward_bias    dbias += s·Σ_rows dy
//   backward_a       dA += dpᵀ·x
//   backward_x       dx  = so_far + dp·A
// There is no dW: the frozen matrix has no gradient.
// x, dx, so_far [rows, width]; y, dy [rows, out]; p, dp [rows, ranks], ranks the sum of all r; A [r, width], B [r_out, r]
// and B's bias [r_out], which few adapters have, lie in an arena, reached by offset; s = lora_alpha / r is read from `scales`, so it can be turned while running.
// A₀ and B₀ are a second pair of each module, which does not train: with −B₀ what A and B began with, where that counts as
// taken out of W. Their columns p₀ of p follow all those that train. Where A = A₀ and B = −B₀ the two sums cancel to the bit.
// An invocation owns 4 × 4 results: eight reads serve sixteen products. Where fewer than four are left, it computes the
// last ones over again and stores each once.
struct Params {
  rows_extent: u32,
  width: u32,
  out: u32,
  ranks: u32,
  column_count: u32,
  // Of these, the tiles that train: the first ones.
  trained_count: u32,
  output_count: u32,
  rank_count: u32,
  // The first column of p₀; 0 where there is none.
  start_column: u32,
  has_bias: u32,
  has_so_far: u32,
}
// Up to four neighbouring columns of p, of one module.
struct Columns {
  first: u32,
  count: u32,
  // Where the first one's row of A starts, and its column of B.
  a: u32,
  b: u32,
  rank: u32,
  // The module's rows of W.
  row: u32,
  rows: u32,
  scale: u32,
}
// Up to four neighbouring rows of W, of one module.
struct Outputs {
  first: u32,
  count: u32,
  // Where the first one's row of B starts, where its bias is, and where its row of B₀ starts.
  b: u32,
  bias: u32,
  start: u32,
  // The module's first column of p, and how many there are; as many of p₀, as far into it.
  column: u32,
  rank: u32,
  scale: u32,
}
@group(0) @binding(1) var<uniform> params: Params;
@group(0) @binding(2) var<storage, read> columns: array<Columns>;
@group(0) @binding(3) var<storage, read> outputs: array<Outputs>;
@group(0) @binding(4) var<storage, read> scales: array<f32>;
@group(0) @binding(5) var<storage, read> arena: array<f32>;
@group(0) @binding(6) var<storage, read_write> gradients: array<f32>;
@group(0) @binding(7) var<storage, read> x: array<f32>;
@group(0) @binding(8) var<storage, read> p: array<f32>;
@group(0) @binding(9) var<storage, read> dy: array<f32>;
@group(0) @binding(10) var<storage, read> dp: array<f32>;
@group(0) @binding(11) var<storage, read_write> p_out: array<f32>;
@group(0) @binding(12) var<storage, read_write> dp_out: array<f32>;
@group(0) @binding(13) var<storage, read_write> y: array<f32>;
@group(0) @binding(14) var<storage, read> so_far: array<f32>;
@group(0) @binding(15) var<storage, read_write> dx: array<f32>;

const LANES = 64u;

// Four from `first` on, the last of `count` again where there are fewer.
fn four(first: u32, count: u32) -> vec4u {
  return min(vec4u(first) + vec4u(0u, 1u, 2u, 3u), vec4u(count - 1u));
}

// sum[n] + a[n]·b
fn outer(sum: mat4x4f, a: vec4f, b: vec4f) -> mat4x4f {
  return sum + mat4x4f(a.x * b, a.y * b, a.z * b, a.w * b);
}

fn factor(at: vec4u) -> vec4f {
  return vec4f(arena[at.x], arena[at.y], arena[at.z], arena[at.w]);
}

fn put_p(t: u32, column: u32, sum: vec4f) {
  let at = t * params.ranks + column;
  let left = extent(params.rows_extent) - t;
  p_out[at] = sum.x;
  if (left > 1u) { p_out[at + params.ranks] = sum.y; }
  if (left > 2u) { p_out[at + 2u * params.ranks] = sum.z; }
  if (left > 3u) { p_out[at + 3u * params.ranks] = sum.w; }
}

@compute @workgroup_size(LANES)
fn down(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u,
        @builtin(local_invocation_index) lane: u32) {
  let i = flat_workgroup(group, groups) * LANES + lane;
  let rows = extent(params.rows_extent);
  let own = columns[i % params.column_count];
  let t = i / params.column_count * 4u;
  if (t >= rows) {
    return;
  }
  let a = own.a + four(0u, own.count) * params.width;
  let row = four(t, rows) * params.width;
  var sum = mat4x4f();
  for (var k = 0u; k < params.width; k++) {
    sum = outer(sum, factor(a + k), vec4f(x[row.x + k], x[row.y + k], x[row.z + k], x[row.w + k]));
  }
  put_p(t, own.first, sum[0]);
  if (own.count > 1u) { put_p(t, own.first + 1u, sum[1]); }
  if (own.count > 2u) { put_p(t, own.first + 2u, sum[2]); }
  if (own.count > 3u) { put_p(t, own.first + 3u, sum[3]); }
}

fn add_y(t: u32, o: u32, sum: vec4f) {
  let at = t * params.out + o;
  let left = extent(params.rows_extent) - t;
  y[at] += sum.x;
  if (left > 1u) { y[at + params.out] += sum.y; }
  if (left > 2u) { y[at + 2u * params.out] += sum.z; }
  if (left > 3u) { y[at + 3u * params.out] += sum.w; }
}

// p·Bᵀ: b are rows of B, p_row where their columns of p begin.
fn widened(b: vec4u, p_row: vec4u, rank: u32) -> mat4x4f {
  var sum = mat4x4f();
  for (var j = 0u; j < rank; j++) {
    sum = outer(sum, factor(b + j), vec4f(p[p_row.x + j], p[p_row.y + j], p[p_row.z + j], p[p_row.w + j]));
  }
  return sum;
}

@compute @workgroup_size(LANES)
fn up(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u,
      @builtin(local_invocation_index) lane: u32) {
  let i = flat_workgroup(group, groups) * LANES + lane;
  let rows = extent(params.rows_extent);
  let own = outputs[i % params.output_count];
  let t = i / params.output_count * 4u;
  if (t >= rows) {
    return;
  }
  let below = four(0u, own.count) * own.rank;
  let row = four(t, rows) * params.ranks + own.column;
  var sum = widened(own.b + below, row, own.rank);
  if (params.start_column != 0u) {
    sum += widened(own.start + below, row + params.start_column, own.rank);
  }
  if (params.has_bias != 0u) {
    sum = outer(sum, factor(own.bias + four(0u, own.count)), vec4f(1.0));
  }
  sum *= scales[own.scale];
  add_y(t, own.first, sum[0]);
  if (own.count > 1u) { add_y(t, own.first + 1u, sum[1]); }
  if (own.count > 2u) { add_y(t, own.first + 2u, sum[2]); }
  if (own.count > 3u) { add_y(t, own.first + 3u, sum[3]); }
}

fn put_dp(t: u32, column: u32, sum: vec4f) {
  let at = t * params.ranks + column;
  let left = extent(params.rows_extent) - t;
  dp_out[at] = sum.x;
  if (left > 1u) { dp_out[at + params.ranks] = sum.y; }
  if (left > 2u) { dp_out[at + 2u * params.ranks] = sum.z; }
  if (left > 3u) { dp_out[at + 3u * params.ranks] = sum.w; }
}

@compute @workgroup_size(LANES)
fn backward_p(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u,
              @builtin(local_invocation_index) lane: u32) {
  let i = flat_workgroup(group, groups) * LANES + lane;
  let rows = extent(params.rows_extent);
  let own = columns[i % params.column_count];
  let t = i / params.column_count * 4u;
  if (t >= rows) {
    return;
  }
  let b = own.b + four(0u, own.count);
  let row = four(t, rows) * params.out + own.row;
  var sum = mat4x4f();
  for (var o = 0u; o < own.rows; o++) {
    sum = outer(sum, factor(b + o * own.rank), vec4f(dy[row.x + o], dy[row.y + o], dy[row.z + o], dy[row.w + o]));
  }
  sum *= scales[own.scale];
  put_dp(t, own.first, sum[0]);
  if (own.count > 1u) { put_dp(t, own.first + 1u, sum[1]); }
  if (own.count > 2u) { put_dp(t, own.first + 2u, sum[2]); }
  if (own.count > 3u) { put_dp(t, own.first + 3u, sum[3]); }
}

// Up to four neighbouring gradients, of which `left` belong to the row.
fn add_gradients(at: u32, left: u32, sum: vec4f) {
  gradients[at] += sum.x;
  if (left > 1u) { gradients[at + 1u] += sum.y; }
  if (left > 2u) { gradients[at + 2u] += sum.z; }
  if (left > 3u) { gradients[at + 3u] += sum.w; }
}

@compute @workgroup_size(LANES)
fn backward_b(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u,
              @builtin(local_invocation_index) lane: u32) {
  let i = flat_workgroup(group, groups) * LANES + lane;
  if (i >= params.output_count * params.rank_count) {
    return;
  }
  let own = outputs[i / params.rank_count];
  let j = i % params.rank_count * 4u;
  if (j >= own.rank) {
    return;
  }
  let o = own.first + four(0u, own.count);
  let c = own.column + four(j, own.rank);
  var sum = mat4x4f();
  for (var t = 0u; t < extent(params.rows_extent); t++) {
    let at = t * params.out + o;
    let other = t * params.ranks + c;
    sum = outer(sum, vec4f(dy[at.x], dy[at.y], dy[at.z], dy[at.w]), vec4f(p[other.x], p[other.y], p[other.z], p[other.w]));
  }
  sum *= scales[own.scale];
  let at = own.b + j;
  let left = own.rank - j;
  add_gradients(at, left, sum[0]);
  if (own.count > 1u) { add_gradients(at + own.rank, left, sum[1]); }
  if (own.count > 2u) { add_gradients(at + 2u * own.rank, left, sum[2]); }
  if (own.count > 3u) { add_gradients(at + 3u * own.rank, left, sum[3]); }
}

@compute @workgroup_size(LANES)
fn backward_bias(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u,
                 @builtin(local_invocation_index) lane: u32) {
  let i = flat_workgroup(group, groups) * LANES + lane;
  if (i >= params.output_count) {
    return;
  }
  let own = outputs[i];
  let o = own.first + four(0u, own.count);
  var sum = vec4f();
  for (var t = 0u; t < extent(params.rows_extent); t++) {
    let at = t * params.out + o;
    sum += vec4f(dy[at.x], dy[at.y], dy[at.z], dy[at.w]);
  }
  add_gradients(own.bias, own.count, sum * scales[own.scale]);
}

@compute @workgroup_size(LANES)
fn backward_a(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u,
              @builtin(local_invocation_index) lane: u32) {
  let i = flat_workgroup(group, groups) * LANES + lane;
  let across = (params.width + 3u) / 4u;
  if (i >= params.trained_count * across) {
    return;
  }
  let own = columns[i / across];
  let k = i % across * 4u;
  let c = own.first + four(0u, own.count);
  let feature = four(k, params.width);
  var sum = mat4x4f();
  for (var t = 0u; t < extent(params.rows_extent); t++) {
    let at = t * params.ranks + c;
    let other = t * params.width + feature;
    sum = outer(sum, vec4f(dp[at.x], dp[at.y], dp[at.z], dp[at.w]), vec4f(x[other.x], x[other.y], x[other.z], x[other.w]));
  }
  let at = own.a + k;
  let left = params.width - k;
  add_gradients(at, left, sum[0]);
  if (own.count > 1u) { add_gradients(at + params.width, left, sum[1]); }
  if (own.count > 2u) { add_gradients(at + 2u * params.width, left, sum[2]); }
  if (own.count > 3u) { add_gradients(at + 3u * params.width, left, sum[3]); }
}

fn put_one(at: u32, sum: f32) {
  if (params.has_so_far != 0u) {
    dx[at] = so_far[at] + sum;
  } else {
    dx[at] = sum;
  }
}

fn put_dx(t: u32, k: u32, sum: vec4f) {
  if (t >= extent(params.rows_extent)) {
    return;
  }
  let at = t * params.width + k;
  let left = params.width - k;
  put_one(at, sum.x);
  if (left > 1u) { put_one(at + 1u, sum.y); }
  if (left > 2u) { put_one(at + 2u, sum.z); }
  if (left > 3u) { put_one(at + 3u, sum.w); }
}

@compute @workgroup_size(LANES)
fn backward_x(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u,
              @builtin(local_invocation_index) lane: u32) {
  let i = flat_workgroup(group, groups) * LANES + lane;
  let rows = extent(params.rows_extent);
  let across = (params.width + 3u) / 4u;
  // Rows past the last are looked at where they would be stored.
  let t = i / across * 4u;
  let k = i % across * 4u;
  let feature = four(k, params.width);
  let row = four(t, rows) * params.ranks;
  var sum = mat4x4f();
  for (var c = 0u; c < params.column_count; c++) {
    let met = columns[c];
    for (var n = 0u; n < met.count; n++) {
      let at = row + met.first + n;
      sum = outer(sum, vec4f(dp[at.x], dp[at.y], dp[at.z], dp[at.w]), factor(met.a + n * params.width + feature));
    }
  }
  put_dx(t, k, sum[0]);
  put_dx(t + 1u, k, sum[1]);
  put_dx(t + 2u, k, sum[2]);
  put_dx(t + 3u, k, sum[3]);
}
