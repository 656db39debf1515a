// embedding — look up each token's row of the table.
//   forward         y = table[id] + so_far             for the ids of the slice at hand
//   link            links[t] = (1 where t is the first row of its id, else 0; the next row of that id, or NONE)
//   backward_table  dtable[id] += Σ dy of the rows that have this id
// d so_far is dy, the same value; an id passes no gradient, and a frozen table takes none.
// ids [rows]; y, so_far, dy [rows, width]. A slice of the table, read through weight(i), holds slice_rows rows: those
// of the ids from row_start on, or with listed_count the rows that stand in the place of some ids: listed [listed_count]
// pairs an id with its row of the slice, ascending in ids. Slices are looked up one by one; each writes the rows of y
// whose ids it holds, so that together they write every row, and a row that is replaced comes last.
struct Params {
  rows_extent: u32,
  width: u32,
  row_start: u32,
  slice_rows: u32,
  listed_count: u32,
  has_so_far: u32,
}
@group(0) @binding(1) var<uniform> params: Params;
@group(0) @binding(2) var<storage, read> ids: array<u32>;
@group(0) @binding(3) var<storage, read> listed: array<vec2u>;
@group(0) @binding(4) var<storage, read> so_far: array<f32>;
@group(0) @binding(5) var<storage, read_write> y: array<f32>;
@group(0) @binding(6) var<storage, read_write> links_out: array<vec2u>;
@group(0) @binding(7) var<storage, read> links: array<vec2u>;
@group(0) @binding(8) var<storage, read> dy: array<f32>;
@group(0) @binding(9) var<storage, read_write> dtable: array<f32>;

const LANES = 64u;
const NONE = 0xffffffffu;

// The slice's row of an id; slice_rows or more where it holds none.
fn table_row(id: u32) -> u32 {
  if (params.listed_count == 0u) {
    // An id before the slice wraps around to a large number.
    return id - params.row_start;
  }
  var low = 0u;
  var high = params.listed_count - 1u;
  while (low < high) {
    let middle = (low + high) / 2u;
    if (listed[middle].x < id) {
      low = middle + 1u;
    } else {
      high = middle;
    }
  }
  return select(NONE, listed[low].y, listed[low].x == id);
}

@compute @workgroup_size(LANES)
fn forward(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u,
           @builtin(local_invocation_index) lane: u32) {
  let i = flat_workgroup(group, groups) * LANES + lane;
  let row = i / params.width;
  if (row >= extent(params.rows_extent)) {
    return;
  }
  let table_at = table_row(ids[row]);
  if (table_at >= params.slice_rows) {
    return;
  }
  var sum = weight(table_at * params.width + i % params.width);
  if (params.has_so_far != 0u) {
    sum += so_far[i];
  }
  y[i] = sum;
}

// One invocation a row.
@compute @workgroup_size(LANES)
fn link(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u,
        @builtin(local_invocation_index) lane: u32) {
  let t = flat_workgroup(group, groups) * LANES + lane;
  let rows = extent(params.rows_extent);
  if (t >= rows) {
    return;
  }
  let id = ids[t];
  var first = 0u;
  while (ids[first] != id) {
    first++;
  }
  var next = t + 1u;
  while (next < rows && ids[next] != id) {
    next++;
  }
  links_out[t] = vec2u(select(0u, 1u, first == t), select(NONE, next, next < rows));
}

// One invocation an element of y. The first row of an id adds for all of them, in their order: nobody else writes there.
@compute @workgroup_size(LANES)
fn backward_table(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u,
                  @builtin(local_invocation_index) lane: u32) {
  let i = flat_workgroup(group, groups) * LANES + lane;
  let first = i / params.width;
  let column = i % params.width;
  if (first >= extent(params.rows_extent)) {
    return;
  }
  let table_at = table_row(ids[first]);
  if (links[first].x == 0u || table_at >= params.slice_rows) {
    return;
  }
  var sum = 0.0;
  for (var t = first; t != NONE; t = links[t].y) {
    sum += dy[t * params.width + column];
  }
  dtable[table_at * params.width + column] += sum;
}
