// crossentropy — negative log-likelihood of the trained rows, chunk by chunk; the head's products stand in between.
//   gather           rows[i] = hidden[target_row[start + i]]
//   gather_index     index[i] = of_token[target_row[start + i]]
//   row_loss         scores[start + i] = (nats, entropy, right)                  m = max_j z_j,  t = target_id[start + i]
//                    nats = (m − z_t) + ln S,  S = Σ_j exp(z_j − m);  entropy = −Σ_j p_j ln p_j = ln S + Σ_j p_j (m − z_j);
//                    right = 1 where z_t = m, else 0
//   row_gradient     z_j ← (p_j − [j = t]) · loss_scale                          p = softmax(z), in place
//   collect          drows_all[start + i] = drows[i]
//   total            loss = Σ nats;  the sums of nats, entropy and right are added to their scalars
//   backward_hidden  dhidden[τ] = so_far[τ] + drows_all[target_of_token[τ]], nothing added where that is −1
// hidden, dhidden, so_far [tokens, width]; rows, drows [chunk, width]; z = logits [chunk, vocabulary], turned into
// their gradient; scores [targets] of vec3f; target_row, target_id [targets]; drows_all [targets, width]; target_of_token [tokens];
// of_token [tokens] and index [chunk] are whole numbers, such as positions: what a mask of dropout belongs to.
// statistics [chunk] of vec3f, from row_loss for row_gradient; loss_scale = 1 / trained tokens of the optimizer step.
// Absent: a tensor [tokens, vocabulary]. Rows that are not trained never reach the head.
struct Params {
  rows_extent: u32,
  start: u32,
  width: u32,
  has_so_far: u32,
}
@group(0) @binding(1) var<uniform> params: Params;
@group(0) @binding(2) var<storage, read> hidden: array<f32>;
@group(0) @binding(3) var<storage, read> target_row: array<u32>;
@group(0) @binding(4) var<storage, read_write> rows_out: array<f32>;
@group(0) @binding(5) var<storage, read> logits: array<f32>;
@group(0) @binding(6) var<storage, read> target_id: array<u32>;
@group(0) @binding(7) var<storage, read_write> scores_out: array<vec3f>;
@group(0) @binding(8) var<storage, read_write> statistics_out: array<vec3f>;
@group(0) @binding(9) var<storage, read> statistics: array<vec3f>;
@group(0) @binding(10) var<storage, read> loss_scale: array<f32>;
@group(0) @binding(11) var<storage, read_write> dlogits: array<f32>;
@group(0) @binding(12) var<storage, read> drows: array<f32>;
@group(0) @binding(13) var<storage, read_write> drows_all_out: array<f32>;
@group(0) @binding(14) var<storage, read> scores: array<vec3f>;
@group(0) @binding(15) var<storage, read_write> loss: array<f32>;
@group(0) @binding(16) var<storage, read_write> scalars: array<f32>;
@group(0) @binding(17) var<storage, read> drows_all: array<f32>;
@group(0) @binding(18) var<storage, read> target_of_token: array<i32>;
@group(0) @binding(19) var<storage, read> so_far: array<f32>;
@group(0) @binding(20) var<storage, read_write> dhidden: array<f32>;
@group(0) @binding(21) var<storage, read> of_token: array<u32>;
@group(0) @binding(22) var<storage, read_write> index_out: array<u32>;

const LANES = 256u;
// Invocations that share a row's sum, a power of two: src/ops/tiles.ts says how many.
override ROW_LANES: u32 = 256;
const LOWEST = -3.402823466e38;
const LN_2 = 0.6931471805599453;
// Places in `scalars`: src/ops/scalars.ts.
const LOSS_SUM = 0u;
const ENTROPY_SUM = 3u;
const RIGHT_SUM = 4u;
var<workgroup> tree: array<vec3f, LANES>;

// Fixed trees: the same bytes on every run.
fn group_sum(lane: u32, lanes: u32, value: vec3f) -> vec3f {
  tree[lane] = value;
  workgroupBarrier();
  for (var half = lanes / 2u; half > 0u; half /= 2u) {
    if (lane < half) {
      tree[lane] += tree[lane + half];
    }
    workgroupBarrier();
  }
  return tree[0];
}

fn group_max(lane: u32, lanes: u32, value: f32) -> f32 {
  tree[lane].x = value;
  workgroupBarrier();
  for (var half = lanes / 2u; half > 0u; half /= 2u) {
    if (lane < half) {
      tree[lane].x = max(tree[lane].x, tree[lane + half].x);
    }
    workgroupBarrier();
  }
  let largest = tree[0].x;
  // The tree is used again for the sum.
  workgroupBarrier();
  return largest;
}

// ln(1 + y) for y ≥ 0. WGSL's log is weak near 1, where a confident row lies. 1 + y = 2ᵏ·f with f in [√½, √2), and
// ln f = 2·atanh(t), t = (f − 1)/(f + 1), whose series ends below 1e-8 of its value. Small y never meet the 1.
fn ln_1p(y: f32) -> f32 {
  var power = 0.0;
  var t = y / (2.0 + y);
  if (y > 0.41421356) {
    let bits = bitcast<u32>(1.0 + y) + (0x3f800000u - 0x3f3504f3u);
    power = f32(i32(bits >> 23u) - 127);
    let f = bitcast<f32>((bits & 0x7fffffu) + 0x3f3504f3u);
    t = (f - 1.0) / (f + 1.0);
  }
  let s = t * t;
  return power * LN_2 + t * (2.0 + s * (2.0 / 3.0 + s * (2.0 / 5.0 + s * (2.0 / 7.0 + s * (2.0 / 9.0)))));
}

@compute @workgroup_size(LANES)
fn gather(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u,
          @builtin(local_invocation_index) lane: u32) {
  let i = flat_workgroup(group, groups) * LANES + lane;
  if (i < extent(params.rows_extent) * params.width) {
    rows_out[i] = hidden[target_row[params.start + i / params.width] * params.width + i % params.width];
  }
}

@compute @workgroup_size(LANES)
fn gather_index(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u,
                @builtin(local_invocation_index) lane: u32) {
  let i = flat_workgroup(group, groups) * LANES + lane;
  if (i < extent(params.rows_extent)) {
    index_out[i] = of_token[target_row[params.start + i]];
  }
}

// One workgroup a row; width is the vocabulary's.
@compute @workgroup_size(ROW_LANES)
fn row_loss(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u,
            @builtin(local_invocation_index) lane: u32) {
  let row = flat_workgroup(group, groups);
  if (row >= extent(params.rows_extent)) {
    return;
  }
  let first = row * params.width;
  var most = LOWEST;
  for (var j = lane; j < params.width; j += ROW_LANES) {
    most = max(most, logits[first + j]);
  }
  let top = group_max(lane, ROW_LANES, most);
  let wanted = target_id[params.start + row];
  // The target's own term stays apart: where it is the largest, what matters is how little the others add to 1.
  var sum = vec3f();
  for (var j = lane; j < params.width; j += ROW_LANES) {
    let less = top - logits[first + j];
    let share = exp(-less);
    sum.x += select(share, 0.0, j == wanted);
    sum.y += share * less;
  }
  let sums = group_sum(lane, ROW_LANES, sum);
  if (lane == 0u) {
    let others = sums.x;
    let below = top - logits[first + wanted];
    var own = 1.0;
    var beyond_one = others;
    if (below > 0.0) {
      own = exp(-below);
      beyond_one = (others - 1.0) + own;
    }
    let ln_sum = ln_1p(beyond_one);
    let per_sum = 1.0 / (others + own);
    let right = select(0.0, 1.0, below <= 0.0);
    scores_out[params.start + row] = vec3f(below + ln_sum, ln_sum + sums.y * per_sum, right);
    statistics_out[row] = vec3f(top, per_sum, others);
  }
}

@compute @workgroup_size(LANES)
fn row_gradient(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u,
                @builtin(local_invocation_index) lane: u32) {
  let i = flat_workgroup(group, groups) * LANES + lane;
  if (i >= extent(params.rows_extent) * params.width) {
    return;
  }
  let row = i / params.width;
  let top = statistics[row].x;
  let per_sum = statistics[row].y;
  let others = statistics[row].z;
  // p − 1 of the target is what the others hold, which keeps its digits where p is almost 1.
  let slope = select(exp(dlogits[i] - top), -others, i % params.width == target_id[params.start + row]);
  dlogits[i] = slope * per_sum * loss_scale[0];
}

@compute @workgroup_size(LANES)
fn collect(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u,
           @builtin(local_invocation_index) lane: u32) {
  let i = flat_workgroup(group, groups) * LANES + lane;
  if (i < extent(params.rows_extent) * params.width) {
    drows_all_out[params.start * params.width + i] = drows[i];
  }
}

// One workgroup.
@compute @workgroup_size(LANES)
fn total(@builtin(local_invocation_index) lane: u32) {
  var sum = vec3f();
  for (var i = lane; i < extent(params.rows_extent); i += LANES) {
    sum += scores[i];
  }
  let all = group_sum(lane, LANES, sum);
  if (lane == 0u) {
    loss[0] = all.x;
    scalars[LOSS_SUM] += all.x;
    scalars[ENTROPY_SUM] += all.y;
    scalars[RIGHT_SUM] += all.z;
  }
}

@compute @workgroup_size(LANES)
fn backward_hidden(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u,
                   @builtin(local_invocation_index) lane: u32) {
  let i = flat_workgroup(group, groups) * LANES + lane;
  if (i >= extent(params.rows_extent) * params.width) {
    return;
  }
  let trained = target_of_token[i / params.width];
  var sum = 0.0;
  if (trained >= 0) {
    sum = drows_all[u32(trained) * params.width + i % params.width];
  }
  if (params.has_so_far != 0u) {
    sum += so_far[i];
  }
  dhidden[i] = sum;
}
