// linear — the product with a weight W in PyTorch's orientation, one of its row slices at a time.
//   forward          y  = so_far + x·Wᵀ + bias
//   backward_input   dx = so_far + dy·W
//   backward_weight  dW += dyᵀ·x          only where W trains; a frozen W has none
//   backward_bias    dbias += Σ_rows dy
// x, dx [rows, width]; W, dW [out, width], a slice; y, dy [rows, stride], of which the slice owns the columns
// column … column + out; bias, dbias [out]; so_far like the result. Frozen W is decoded as it is read.
//
// Every product comes in three forms, chosen by the tile table in src/ops/tiles.ts:
//   _shared  a workgroup of SIDE × SIDE invocations owns 4·SIDE × 4·SIDE results and stages both operands
//            through workgroup memory. For GPUs.
//   _quad    four invocations own 16 × 16 results and hand operands to each other: linear/quad.wgsl. For software
//            devices.
//   _plain   an invocation owns 4 × 4 results and reads element by element: for widths that are no multiple
//            of four. The others read vec4f and need every width to be one.
// In an accumulator a column is a row of the result (a token), its rows are four neighbouring columns.
struct Params {
  rows_extent: u32,
  width: u32,
  out: u32,
  stride: u32,
  column: u32,
  has_bias: u32,
  has_so_far: u32,
}
override SIDE: u32 = 8;
const STEPS = 16u;

@group(0) @binding(1) var<uniform> params: Params;
@group(0) @binding(2) var<storage, read> x: array<vec4f>;
@group(0) @binding(3) var<storage, read> dy: array<vec4f>;
@group(0) @binding(4) var<storage, read> bias: array<f32>;
@group(0) @binding(5) var<storage, read> so_far: array<f32>;
@group(0) @binding(6) var<storage, read_write> y: array<f32>;
@group(0) @binding(7) var<storage, read_write> dx: array<f32>;
@group(0) @binding(8) var<storage, read_write> dw: array<f32>;
@group(0) @binding(9) var<storage, read_write> dbias: array<f32>;

fn rows() -> u32 {
  return extent(params.rows_extent);
}

// Rows and columns past the last are computed like the others, from whatever lies there, and not stored. Only where
// they would be summed into what is stored does anything stop them.

fn x_one(t: u32, k: u32) -> f32 {
  let i = t * params.width + k;
  return x[i >> 2u][i & 3u];
}

fn w_one(o: u32, k: u32) -> f32 {
  return weight(o * params.width + k);
}

fn dy_one(t: u32, o: u32) -> f32 {
  let i = t * params.stride + params.column + o;
  return dy[i >> 2u][i & 3u];
}

// ---- forward: y[t, o] = Σ_k x[t, k]·W[o, k] ----

fn store_y(t: u32, o: u32, sums: vec4f) {
  if (t >= rows()) {
    return;
  }
  for (var j = 0u; j < 4u; j++) {
    if (o + j < params.out) {
      let at = t * params.stride + params.column + o + j;
      var sum = sums[j];
      if (params.has_bias != 0u) {
        sum += bias[o + j];
      }
      if (params.has_so_far != 0u) {
        sum += so_far[at];
      }
      y[at] = sum;
    }
  }
}

fn store_y_block(t: u32, o: u32, block: mat4x4f) {
  store_y(t, o, block[0]);
  store_y(t + 1u, o, block[1]);
  store_y(t + 2u, o, block[2]);
  store_y(t + 3u, o, block[3]);
}

// Both operands of a workgroup's tile, STEPS values of k deep: [k][4·SIDE].
var<workgroup> left: array<f32, STEPS * 4u * SIDE>;
var<workgroup> right: array<f32, STEPS * 4u * SIDE>;

// Four steps of k of one row.
fn put_left(k: u32, row: u32, v: vec4f) {
  left[k * 4u * SIDE + row] = v.x;
  left[(k + 1u) * 4u * SIDE + row] = v.y;
  left[(k + 2u) * 4u * SIDE + row] = v.z;
  left[(k + 3u) * 4u * SIDE + row] = v.w;
}

fn put_right(k: u32, row: u32, v: vec4f) {
  right[k * 4u * SIDE + row] = v.x;
  right[(k + 1u) * 4u * SIDE + row] = v.y;
  right[(k + 2u) * 4u * SIDE + row] = v.z;
  right[(k + 3u) * 4u * SIDE + row] = v.w;
}

// Four neighbouring rows at one step of k.
fn put_left_rows(k: u32, row: u32, v: vec4f) {
  let at = k * 4u * SIDE + row;
  left[at] = v.x; left[at + 1u] = v.y; left[at + 2u] = v.z; left[at + 3u] = v.w;
}

fn put_right_rows(k: u32, row: u32, v: vec4f) {
  let at = k * 4u * SIDE + row;
  right[at] = v.x; right[at + 1u] = v.y; right[at + 2u] = v.z; right[at + 3u] = v.w;
}

// Adds the staged steps: column t of the block gains right[o…o+3]·left[t].
fn add_staged(sum: mat4x4f, across: u32, down: u32) -> mat4x4f {
  var block = sum;
  for (var k = 0u; k < STEPS; k++) {
    let row = k * 4u * SIDE;
    let b = vec4f(right[row + across], right[row + across + 1u], right[row + across + 2u], right[row + across + 3u]);
    block[0] += b * left[row + down];
    block[1] += b * left[row + down + 1u];
    block[2] += b * left[row + down + 2u];
    block[3] += b * left[row + down + 3u];
  }
  return block;
}

@compute @workgroup_size(SIDE, SIDE)
fn forward_shared(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u,
                  @builtin(local_invocation_index) lane: u32) {
  let tile = flat_workgroup(group, groups);
  let across = (params.out / 4u + SIDE - 1u) / SIDE;
  let t = tile / across * 4u * SIDE;
  let o = tile % across * 4u * SIDE;
  var sum = mat4x4f();
  for (var k = 0u; k < params.width; k += STEPS) {
    workgroupBarrier();
    for (var i = lane; i < STEPS * SIDE; i += SIDE * SIDE) {
      let step = i % (STEPS / 4u) * 4u;
      let row = i / (STEPS / 4u);
      let inside = k + step < params.width;
      let column = (k + step) / 4u;
      let x_row = (t + row) * (params.width / 4u);
      let w_row = (o + row) * (params.width / 4u);
      put_left(step, row, select(vec4f(), x[x_row + column], inside));
      put_right(step, row, select(vec4f(), weight4(w_row + column), inside));
    }
    workgroupBarrier();
    sum = add_staged(sum, lane % SIDE * 4u, lane / SIDE * 4u);
  }
  store_y_block(t + lane / SIDE * 4u, o + lane % SIDE * 4u, sum);
}

@compute @workgroup_size(64)
fn forward_plain(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u,
                 @builtin(local_invocation_index) lane: u32) {
  let tile = flat_workgroup(group, groups) * 64u + lane;
  let across = (params.out + 3u) / 4u;
  let t = tile / across * 4u;
  let o = tile % across * 4u;
  var sum = mat4x4f();
  for (var k = 0u; k < params.width; k++) {
    let w = vec4f(w_one(o, k), w_one(o + 1u, k), w_one(o + 2u, k), w_one(o + 3u, k));
    sum[0] += w * x_one(t, k);
    sum[1] += w * x_one(t + 1u, k);
    sum[2] += w * x_one(t + 2u, k);
    sum[3] += w * x_one(t + 3u, k);
  }
  store_y_block(t, o, sum);
}

// ---- backward_input: dx[t, i] = Σ_o dy[t, o]·W[o, i] ----

fn store_dx(t: u32, i: u32, sums: vec4f) {
  if (t >= rows()) {
    return;
  }
  for (var j = 0u; j < 4u; j++) {
    if (i + j < params.width) {
      let at = t * params.width + i + j;
      var sum = sums[j];
      if (params.has_so_far != 0u) {
        sum += so_far[at];
      }
      dx[at] = sum;
    }
  }
}

fn store_dx_block(t: u32, i: u32, block: mat4x4f) {
  store_dx(t, i, block[0]);
  store_dx(t + 1u, i, block[1]);
  store_dx(t + 2u, i, block[2]);
  store_dx(t + 3u, i, block[3]);
}

@compute @workgroup_size(SIDE, SIDE)
fn backward_input_shared(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u,
                         @builtin(local_invocation_index) lane: u32) {
  let tile = flat_workgroup(group, groups);
  let across = (params.width / 4u + SIDE - 1u) / SIDE;
  let t = tile / across * 4u * SIDE;
  let i = tile % across * 4u * SIDE;
  var sum = mat4x4f();
  for (var o = 0u; o < params.out; o += STEPS) {
    workgroupBarrier();
    for (var n = lane; n < STEPS * SIDE; n += SIDE * SIDE) {
      let step = n % (STEPS / 4u) * 4u;
      let row = n / (STEPS / 4u);
      let inside = o + step < params.out;
      let dy_row = ((t + row) * params.stride + params.column) / 4u;
      put_left(step, row, select(vec4f(), dy[dy_row + (o + step) / 4u], inside));
      let deep = n / SIDE;
      let at = n % SIDE * 4u;
      let w_row = min(o + deep, params.out - 1u) * (params.width / 4u);
      put_right_rows(deep, at, weight4(w_row + (i + at) / 4u));
    }
    workgroupBarrier();
    sum = add_staged(sum, lane % SIDE * 4u, lane / SIDE * 4u);
  }
  store_dx_block(t + lane / SIDE * 4u, i + lane % SIDE * 4u, sum);
}

@compute @workgroup_size(64)
fn backward_input_plain(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u,
                        @builtin(local_invocation_index) lane: u32) {
  let tile = flat_workgroup(group, groups) * 64u + lane;
  let across = (params.width + 3u) / 4u;
  let t = tile / across * 4u;
  let i = tile % across * 4u;
  var sum = mat4x4f();
  for (var o = 0u; o < params.out; o++) {
    let w = vec4f(w_one(o, i), w_one(o, i + 1u), w_one(o, i + 2u), w_one(o, i + 3u));
    sum[0] += w * dy_one(t, o);
    sum[1] += w * dy_one(t + 1u, o);
    sum[2] += w * dy_one(t + 2u, o);
    sum[3] += w * dy_one(t + 3u, o);
  }
  store_dx_block(t, i, sum);
}

// ---- backward_weight: dW[o, i] += Σ_t dy[t, o]·x[t, i] ----

fn add_dw(o: u32, i: u32, sums: vec4f) {
  if (o >= params.out) {
    return;
  }
  for (var j = 0u; j < 4u; j++) {
    if (i + j < params.width) {
      dw[o * params.width + i + j] += sums[j];
    }
  }
}

fn add_dw_block(o: u32, i: u32, block: mat4x4f) {
  add_dw(o, i, block[0]);
  add_dw(o + 1u, i, block[1]);
  add_dw(o + 2u, i, block[2]);
  add_dw(o + 3u, i, block[3]);
}

// Rows past the end count as zero here: they are summed.
fn dy_live(t: u32, column: u32) -> vec4f {
  let row = t * params.stride + params.column;
  return select(vec4f(), dy[row / 4u + column], t < rows());
}

@compute @workgroup_size(SIDE, SIDE)
fn backward_weight_shared(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u,
                          @builtin(local_invocation_index) lane: u32) {
  let tile = flat_workgroup(group, groups);
  let across = (params.width / 4u + SIDE - 1u) / SIDE;
  let o = tile / across * 4u * SIDE;
  let i = tile % across * 4u * SIDE;
  var sum = mat4x4f();
  for (var t = 0u; t < rows(); t += STEPS) {
    workgroupBarrier();
    for (var n = lane; n < STEPS * SIDE; n += SIDE * SIDE) {
      let deep = n / SIDE;
      let at = n % SIDE * 4u;
      let x_row = min(t + deep, rows() - 1u) * (params.width / 4u);
      put_left_rows(deep, at, dy_live(t + deep, (o + at) / 4u));
      put_right_rows(deep, at, x[x_row + (i + at) / 4u]);
    }
    workgroupBarrier();
    sum = add_staged(sum, lane % SIDE * 4u, lane / SIDE * 4u);
  }
  add_dw_block(o + lane / SIDE * 4u, i + lane % SIDE * 4u, sum);
}

@compute @workgroup_size(64)
fn backward_weight_plain(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u,
                         @builtin(local_invocation_index) lane: u32) {
  let tile = flat_workgroup(group, groups) * 64u + lane;
  let across = (params.width + 3u) / 4u;
  let o = tile / across * 4u;
  let i = tile % across * 4u;
  var sum = mat4x4f();
  for (var t = 0u; t < rows(); t++) {
    let v = vec4f(x_one(t, i), x_one(t, i + 1u), x_one(t, i + 2u), x_one(t, i + 3u));
    sum[0] += v * dy_one(t, o);
    sum[1] += v * dy_one(t, o + 1u);
    sum[2] += v * dy_one(t, o + 2u);
    sum[3] += v * dy_one(t, o + 3u);
  }
  add_dw_block(o, i, sum);
}

// One invocation a column: neighbours read neighbouring columns of each row.
@compute @workgroup_size(64)
fn backward_bias(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u,
                 @builtin(local_invocation_index) lane: u32) {
  let o = flat_workgroup(group, groups) * 64u + lane;
  if (o >= params.out) {
    return;
  }
  var sum = 0.0;
  for (var t = 0u; t < rows(); t++) {
    let at = t * params.stride + params.column + o;
    sum += dy[at >> 2u][at & 3u];
  }
  dbias[o] += sum;
}
